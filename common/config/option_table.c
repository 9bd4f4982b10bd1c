// SPDX-License-Identifier: Apache-2.0
// The option table: every option of every program, once. The order is that of --help and of the
// sample job file. A section is a heading for people; a key means the same below any heading.
#include "common/config/option_table.h"

#include <string.h>

#include "common/base/limits.h"

#define P OPTION_PSERVER
#define T OPTION_TRAINER
#define L OPTION_LOCAL
#define X OPTION_TRANSPILE
#define U OPTION_PULL
#define V OPTION_VERIFY
#define DAEMONS (P | T | L)
#define TRAINING (T | L)
#define LOADING (P | L)
#define ALL (P | T | L | X | U | V | OPTION_PROGRAM)
#define INT_MAX_F64 2147483647.0
#define COUNT_MAX_F64 9007199254740992.0   // 2^53
#define DAY_MS 86400000.0

const struct option_row option_table[] = {
    {"config", OPTION_STRING, DAEMONS | X | U, NULL, NULL, 0, 0, NULL, NULL, "FILE",
     "job file (INI) that all roles read"},

    {"role", OPTION_CHOICE, DAEMONS, NULL, "pserver|trainer|local", 0, 0, "job",
     "PADDLE_TRAINING_ROLE, TRAINING_ROLE", "ROLE",
     "what this process is: trainer works with servers, local is a single node"},
    {"pservers", OPTION_ENDPOINTS, P | T | X | U, NULL, NULL, 0, 0, "job",
     "PADDLE_PSERVERS_IP_PORT_LIST, PADDLE_PSERVER_ENDPOINTS, PADDLE_PSERVER_IPS + "
     "PADDLE_PSERVER_PORT, PADDLE_PSERVERS + PADDLE_PORT",
     "HOST:PORT,...", "all servers of the job, in the same order everywhere"},
    {"trainers", OPTION_INT, P | T | X, "1", NULL, 1, LIMIT_TRAINERS, "job",
     "PADDLE_TRAINERS_NUM, PADDLE_TRAINERS, PADDLE_TRAINER_ENDPOINTS", "N", "number of trainers"},
    {"trainer_id", OPTION_INT, T, "0", NULL, 0, LIMIT_TRAINERS - 1, "job", "PADDLE_TRAINER_ID", "I",
     "which trainer this is, from 0; trainer 0 saves"},
    {"current_endpoint", OPTION_ENDPOINT, P, NULL, NULL, 0, 0, "job",
     "PADDLE_CURRENT_ENDPOINT, CURRENT_ENDPOINT, POD_IP + PADDLE_PORT, PADDLE_CURRENT_IP + "
     "PADDLE_PSERVER_PORT",
     "HOST:PORT", "where this server listens; port 0 lets the system choose"},
    {"pserver_id", OPTION_INT, P, NULL, NULL, 0, LIMIT_SERVERS - 1, "job", NULL, "I",
     "which of pservers this is, from 0, when current_endpoint does not say it (port 0, other "
     "address)"},
    {"job_id", OPTION_STRING, P | T | U, NULL, NULL, 0, 0, "job", NULL, "TEXT",
     "name of the job; servers refuse peers of another job"},
    {"connect_timeout", OPTION_DURATION, P | T | U, "600s", NULL, 1, 30 * DAY_MS, "job", NULL,
     "TIME", "how long to wait for peers that are not there yet"},
    {"deadline", OPTION_DURATION, P | T | U, "10s", NULL, 100, DAY_MS, "job", NULL, "TIME",
     "how long a peer may be silent before it counts as dead"},
    {"insecure", OPTION_BOOL, P, "false", NULL, 0, 0, "job", NULL, NULL,
     "allow to listen beyond loopback without keys"},

    {"model", OPTION_STRING, DAEMONS, NULL, NULL, 0, 0, "model", NULL, "NAME",
     "a model of the zoo: fit_a_line, recognize_digits, lenet, lenet_bn, vgg, resnet, word2vec, "
     "ctr_dnn, wide_deep, deepfm, recommender, sentiment_conv, sentiment_lstm, sentiment_gru, "
     "label_semantic"},
    {"hidden", OPTION_INTS, DAEMONS, NULL, NULL, 1, INT_MAX_F64, "model", NULL, "N,...",
     "widths of a zoo model's hidden layers (default: the model's)"},
    {"table_rows", OPTION_INT, DAEMONS, NULL, NULL, 2, COUNT_MAX_F64, "model", NULL, "N",
     "zoo models with tables: rows of a table of ids, as words of a dictionary (default: the "
     "model's)"},
    {"embedding_size", OPTION_INT, DAEMONS, NULL, NULL, 1, COUNT_MAX_F64, "model", NULL, "N",
     "the same: width of a table's rows"},
    {"sparse_slots", OPTION_INT, DAEMONS, NULL, NULL, 1, 1024, "model", NULL, "N",
     "ctr_dnn, wide_deep: slots of ids (26); deepfm: fields (39)"},
    {"classes", OPTION_INT, DAEMONS, NULL, NULL, 2, COUNT_MAX_F64, "model", NULL, "N",
     "sentiment: classes (2); label_semantic: tags (59)"},
    {"is_sparse", OPTION_BOOL, DAEMONS, "true", NULL, 0, 0, "model", NULL, NULL,
     "the same: only rows that a batch names are sent and updated"},
    {"main_program", OPTION_STRING, DAEMONS | X, NULL, NULL, 0, 0, "model", NULL, "FILE",
     "a saved ProgramDesc instead of a zoo model"},
    {"startup_program", OPTION_STRING, DAEMONS | X, NULL, NULL, 0, 0, "model", NULL, "FILE",
     "the start-up program that belongs to main_program"},
    {"loss", OPTION_STRING, DAEMONS, NULL, NULL, 0, 0, "model", NULL, "VAR",
     "the loss in main_program, when it cannot be told from the program"},
    {"params_list", OPTION_LIST, DAEMONS | X, NULL, NULL, 0, 0, "model", NULL, "VAR,...",
     "which variables of main_program are Parameters, instead of inferring it"},
    {"optimizer", OPTION_CHOICE, DAEMONS, NULL,
     "sgd|momentum|lars_momentum|adam|adamax|lamb|adagrad|decayed_adagrad|adadelta|rmsprop|ftrl|"
     "dpsgd",
     0, 0, "model", NULL, "NAME", "optimizer of a zoo model (default: the one it is known with)"},
    {"learning_rate", OPTION_FLOAT, DAEMONS, NULL, NULL, 0, 1e30, "model", NULL, "X",
     "learning rate, where a schedule begins (default: the model's)"},
    {"momentum", OPTION_FLOAT, DAEMONS, "0.9", NULL, 0, 1e30, "model", NULL, "X",
     "momentum, lars_momentum, rmsprop (there 0 unless set): factor of the velocity"},
    {"use_nesterov", OPTION_BOOL, DAEMONS, "false", NULL, 0, 0, "model", NULL, NULL,
     "momentum: Nesterov's form"},
    {"beta1", OPTION_FLOAT, DAEMONS, "0.9", NULL, 0, 1, "model", NULL, "X",
     "adam, adamax, lamb: decay of the first moment"},
    {"beta2", OPTION_FLOAT, DAEMONS, "0.999", NULL, 0, 1, "model", NULL, "X",
     "adam, adamax, lamb: decay of the second moment"},
    {"epsilon", OPTION_FLOAT, DAEMONS, NULL, NULL, 0, 1, "model", NULL, "X",
     "added to denominators (default: 1e-8 for adam and adamax, else 1e-6)"},
    {"seed", OPTION_INT, DAEMONS, "1", NULL, 0, INT_MAX_F64, "model", NULL, "N",
     "seed of initial values and of the order of the data"},

    {"rho", OPTION_FLOAT, DAEMONS, "0.95", NULL, 0, 1, "optimizer", NULL, "X",
     "rmsprop, adadelta, decayed_adagrad: decay of the squares"},
    {"centered", OPTION_BOOL, DAEMONS, "false", NULL, 0, 0, "optimizer", NULL, NULL,
     "rmsprop: by the variance instead of the squares"},
    {"initial_accumulator", OPTION_FLOAT, DAEMONS, "0", NULL, 0, 1e30, "optimizer", NULL, "X",
     "adagrad: first value of the squares"},
    {"lars_coeff", OPTION_FLOAT, DAEMONS, "0.001", NULL, 0, 1e30, "optimizer", NULL, "X",
     "lars_momentum: trust in the local rate"},
    {"weight_decay", OPTION_FLOAT, DAEMONS, NULL, NULL, 0, 1e30, "optimizer", NULL, "X",
     "lars_momentum (0.0005), lamb (0.01): decay inside the update"},
    {"l1", OPTION_FLOAT, DAEMONS, "0", NULL, 0, 1e30, "optimizer", NULL, "X",
     "ftrl: L1 strength (Fluid 1.8.5 takes it for L2 too)"},
    {"l2", OPTION_FLOAT, DAEMONS, "0", NULL, 0, 1e30, "optimizer", NULL, "X",
     "ftrl: kept for Fluid's sake, see l1"},
    {"lr_power", OPTION_FLOAT, DAEMONS, "-0.5", NULL, -1e30, 0, "optimizer", NULL, "X",
     "ftrl: power of the squares in the rate"},
    {"dpsgd_clip", OPTION_FLOAT, DAEMONS, "0.9", NULL, 0, 1e30, "optimizer", NULL, "X",
     "dpsgd: largest norm of a gradient"},
    {"dpsgd_batch_size", OPTION_FLOAT, DAEMONS, "0.999", NULL, 0, 1e30, "optimizer", NULL, "X",
     "dpsgd: batch size that the noise is divided by"},
    {"dpsgd_sigma", OPTION_FLOAT, DAEMONS, "1e-8", NULL, 0, 1e30, "optimizer", NULL, "X",
     "dpsgd: deviation of the noise"},
    {"lr_schedule", OPTION_CHOICE, DAEMONS, "none",
     "none|exponential|natural_exp|inverse_time|polynomial|cosine|piecewise", 0, 0, "optimizer",
     NULL, "NAME", "how the learning rate changes from step to step"},
    {"decay_steps", OPTION_INT, DAEMONS, "1000", NULL, 1, INT_MAX_F64, "optimizer", NULL, "N",
     "steps of one decay; polynomial: of the whole; cosine: of one epoch"},
    {"decay_rate", OPTION_FLOAT, DAEMONS, "0.5", NULL, 0, 1e30, "optimizer", NULL, "X",
     "exponential, natural_exp, inverse_time: decay in decay_steps"},
    {"staircase", OPTION_BOOL, DAEMONS, "false", NULL, 0, 0, "optimizer", NULL, NULL,
     "the same schedules: only every decay_steps"},
    {"decay_epochs", OPTION_INT, DAEMONS, "100", NULL, 1, INT_MAX_F64, "optimizer", NULL, "N",
     "cosine: epochs until the rate is 0"},
    {"end_learning_rate", OPTION_FLOAT, DAEMONS, "0.0001", NULL, 0, 1e30, "optimizer", NULL, "X",
     "polynomial: rate at the end"},
    {"power", OPTION_FLOAT, DAEMONS, "1", NULL, 0, 1e30, "optimizer", NULL, "X",
     "polynomial: exponent"},
    {"cycle", OPTION_BOOL, DAEMONS, "false", NULL, 0, 0, "optimizer", NULL, NULL,
     "polynomial: begin again with more steps"},
    {"lr_boundaries", OPTION_LIST, DAEMONS, NULL, NULL, 0, 0, "optimizer", NULL, "N,...",
     "piecewise: steps at which the rate changes"},
    {"lr_values", OPTION_LIST, DAEMONS, NULL, NULL, 0, 0, "optimizer", NULL, "X,...",
     "piecewise: rates, one more than boundaries"},
    {"warmup_steps", OPTION_INT, DAEMONS, "0", NULL, 0, INT_MAX_F64, "optimizer", NULL, "N",
     "steps in which the rate rises from 0 to learning_rate"},
    {"l1_decay", OPTION_FLOAT, DAEMONS, "0", NULL, 0, 1e30, "optimizer", NULL, "X",
     "regularizer of all parameters: x times their signs"},
    {"l2_decay", OPTION_FLOAT, DAEMONS, "0", NULL, 0, 1e30, "optimizer", NULL, "X",
     "regularizer of all parameters: x times themselves"},
    {"clip", OPTION_CHOICE, DAEMONS, "none", "none|value|norm|global_norm", 0, 0, "optimizer", NULL,
     "NAME", "clip each trainer's gradients: every element, each norm, or the norm of all"},
    {"clip_norm", OPTION_FLOAT, DAEMONS, "1", NULL, 0, 1e30, "optimizer", NULL, "X",
     "largest value or norm that clip leaves"},

    {"sync_mode", OPTION_BOOL, P | T | X, "true", NULL, 0, 0, "distribute", NULL, NULL,
     "all trainers make a step together"},
    {"slice_var_up", OPTION_BOOL, P | T | X, "true", NULL, 0, 0, "distribute", NULL, NULL,
     "cut large parameters over the servers"},
    {"split_method", OPTION_CHOICE, P | T | X, "RoundRobin", "RoundRobin|HashName", 0, 0,
     "distribute", NULL, "NAME", "how pieces are dealt to the servers"},
    {"min_block_size", OPTION_INT, P | T | X, "8192", NULL, 8192, COUNT_MAX_F64, "distribute", NULL,
     "N", "least number of elements of a piece"},
    {"init", OPTION_CHOICE, P | T | X, "fluid", "fluid|whole", 0, 0, "distribute", NULL, "HOW",
     "initial values of cut parameters: fluid draws each piece with the same seed, whole takes "
     "the pieces of what one machine begins with"},
    {"clip_merged", OPTION_BOOL, P | T | X, "false", NULL, 0, 0, "distribute", NULL, NULL,
     "clip the merged gradient, as one process would, instead of each trainer its own"},
    {"enable_dc_asgd", OPTION_BOOL, X, "false", NULL, 0, 0, "distribute", NULL, NULL,
     "asynchronous mode: compensate delayed gradients"},
    {"half_async", OPTION_BOOL, X, "false", NULL, 0, 0, "distribute", NULL, NULL,
     "asynchronous mode with barriers"},
    {"fluid_exact", OPTION_BOOL, X, "false", NULL, 0, 0, "distribute", NULL, NULL,
     "write what Fluid 1.8.5 writes, also where that cannot run"},

    {"data", OPTION_STRING, TRAINING, NULL, NULL, 0, 0, "data", NULL, "URI",
     "training data: a path, SCHEME://PATH, a glob or a list; {trainer_id} expands. Schemes: idx "
     "housing cifar npy multislot feasign criteo tokens feed_dir"},
    {"test_data", OPTION_STRING, TRAINING, NULL, NULL, 0, 0, "data", NULL, "URI",
     "test data for an evaluation at the end, and with eval_every in between"},
    {"eval_every", OPTION_EVERY, TRAINING, NULL, NULL, 0, 0, "data", NULL, "N|Nepoch|Nmin",
     "when to evaluate on test_data, as save_every; trainer 0 does it while the others wait"},
    {"feed_dir", OPTION_STRING, TRAINING, NULL, NULL, 0, 0, "data", NULL, "DIR",
     "folder with step_000, step_001, ... of Fluid tensor files; {trainer_id} expands"},
    {"first_step", OPTION_INT, TRAINING, "0", NULL, 0, COUNT_MAX_F64, "data", NULL, "N",
     "the step of feed_dir to begin with"},
    {"format", OPTION_CHOICE, TRAINING, NULL,
     "feed_dir|idx|housing|multislot|criteo|feasign|tokens|npy|cifar", 0, 0, "data", NULL, "NAME",
     "what data is, when no scheme in front says so (criteo://PATH) and the files do not tell"},
    {"slots", OPTION_LIST, TRAINING, NULL, NULL, 0, 0, "data", NULL, "SLOT,...",
     "slots of multislot and feasign lines, each [FEED=]NAME[:uint64|float[:DIMS]], as "
     "label=click:uint64:1,dense:float:13,C1..26=1..26; DIMS make a slot dense (default: the "
     "program's feeds in order)"},
    {"pair_order", OPTION_CHOICE, TRAINING, "slot:feasign", "slot:feasign|feasign:slot", 0, 0,
     "data", NULL, "HOW", "what stands on which side of the colon in feasign lines"},
    {"pipe_command", OPTION_STRING, TRAINING, NULL, NULL, 0, 0, "data", NULL, "COMMAND",
     "program that every text file goes through, stdin to stdout, as `python3 gen.py --day '1 "
     "May'`; words end at blanks, '...' \"...\" and \\ quote, there is no shell; a status other "
     "than 0 ends the run"},
    {"bad_lines", OPTION_CHOICE, TRAINING, "stop", "stop|skip", 0, 0, "data", NULL, "HOW",
     "a line of text that cannot be read ends the run, or all such lines are left out and counted"},
    {"hash_dim", OPTION_INT, TRAINING, NULL, NULL, 1, COUNT_MAX_F64, "data", NULL, "N",
     "ids are taken modulo this, unsigned (default: the table of ctr_dnn, wide_deep, deepfm; "
     "criteo 1000001; else the 64 bits are kept)"},
    {"label", OPTION_CHOICE, TRAINING, "first", "first|last|none", 0, 0, "data", NULL, "WHERE",
     "where the label of a line of tokens stands"},
    {"ngram", OPTION_INT, DAEMONS, NULL, NULL, 1, 64, "data", NULL, "N",
     "tokens: every N ids in a row are a sample, instead of every line (word2vec: 5 unless set)"},
    {"unpacked_max", OPTION_SIZE, TRAINING, "64GiB", NULL, 1, COUNT_MAX_F64, "data", NULL, "SIZE",
     "most bytes of one text file out of gzip or pipe_command; they lie in a temporary file in "
     "TMPDIR"},
    {"prefetch", OPTION_INT, TRAINING, "2", NULL, 0, 64, "data", NULL, "N",
     "batches that a thread prepares ahead"},
    {"batch_size", OPTION_INT, TRAINING, "64", NULL, 1, INT_MAX_F64, "data", NULL, "N",
     "samples a step of one trainer"},
    {"cpu_num", OPTION_INT, TRAINING, "1", NULL, 1, 64, "data", "CPU_NUM", "K",
     "worker threads that share each batch (ParallelExecutor)"},
    {"epochs", OPTION_INT, TRAINING, NULL, NULL, 0, COUNT_MAX_F64, "data", NULL, "N",
     "passes over the data in this run (default: 1, or as many as --steps needs)"},
    {"steps", OPTION_INT, TRAINING, NULL, NULL, 0, COUNT_MAX_F64, "data", NULL, "N",
     "steps in this run (default: what --epochs gives)"},
    {"shard", OPTION_CHOICE, TRAINING, "global", "global|file|none", 0, 0, "data", NULL, "HOW",
     "how trainers divide the data: one order, a file each, a path each"},
    {"drop_last", OPTION_BOOL, TRAINING, "true", NULL, 0, 0, "data", NULL, NULL,
     "leave out the incomplete last step of an epoch"},
    {"shuffle", OPTION_BOOL, TRAINING, "true", NULL, 0, 0, "data", NULL, NULL,
     "permute the data by seed and epoch"},

    {"save_dir", OPTION_STRING, TRAINING, NULL, NULL, 0, 0, "checkpoint", NULL, "DIR",
     "folder for epoch_N or step_N checkpoints"},
    {"save_every", OPTION_EVERY, TRAINING, NULL, NULL, 0, 0, "checkpoint", NULL, "N|Nepoch|Nmin",
     "when to save, as 500, 500step, 1epoch, 10min; the end of a run always saves"},
    {"keep", OPTION_INT, TRAINING, "0", NULL, 0, COUNT_MAX_F64, "checkpoint", NULL, "N",
     "how many checkpoints stay in save_dir; 0 keeps all"},
    {"best_metric", OPTION_STRING, TRAINING, NULL, NULL, 0, 0, "checkpoint", NULL, "NAME",
     "with eval_every: save_dir/best is the checkpoint with the best of this metric so far (of "
     "loss: the least); none keeps none (default: the model's first metric, else loss)"},
    {"save_inference", OPTION_STRING, TRAINING, NULL, NULL, 0, 0, "checkpoint", NULL, "DIR",
     "at the end also write the model for prediction, for sluice infer and Paddle's "
     "load_inference_model"},
    {"targets", OPTION_LIST, TRAINING, NULL, NULL, 0, 0, "checkpoint", NULL, "VAR,...",
     "with save_inference: what that model gives (default: what the model of the zoo predicts)"},
    {"load_dir", OPTION_STRING, LOADING, NULL, NULL, 0, 0, "checkpoint", NULL, "DIR",
     "incremental training: go on from this checkpoint with new data"},
    {"resume", OPTION_STRING, LOADING, NULL, NULL, 0, 0, "checkpoint", NULL, "DIR",
     "continue the stopped run of this checkpoint at its next sample"},
    {"init_from", OPTION_STRING, LOADING, NULL, NULL, 0, 0, "checkpoint", NULL, "DIR",
     "take the parameters only of this checkpoint"},
    {"if_no_checkpoint", OPTION_CHOICE, LOADING, "error", "error|start", 0, 0, "checkpoint", NULL,
     "WHAT", "when there is no checkpoint to begin from"},
    {"learning_rate_from", OPTION_CHOICE, LOADING, NULL, "job|checkpoint", 0, 0, "checkpoint", NULL,
     "WHERE",
     "whose constant learning rate counts (default: --resume the checkpoint's; --load_dir "
     "the job's when given)"},
    {"load_except", OPTION_LIST, LOADING, NULL, NULL, 0, 0, "checkpoint", NULL, "GLOB,...",
     "variables that are not loaded"},
    {"partial", OPTION_BOOL, LOADING, "false", NULL, 0, 0, "checkpoint", NULL, NULL,
     "load what fits; what is missing or does not fit keeps its initial value"},
    {"load_report", OPTION_STRING, LOADING, NULL, NULL, 0, 0, "checkpoint", NULL, "FILE",
     "write what the load did with each variable, as JSON; a server adds .N, its number"},
    {"load_filename", OPTION_STRING, LOADING, NULL, NULL, 0, 0, "checkpoint", NULL, "FILE",
     "the folder's variables are in one combined file of this name"},

    {"fetch", OPTION_LIST, TRAINING, NULL, NULL, 0, 0, "output", NULL, "VAR,...",
     "variables to report each step"},
    {"fetch_dir", OPTION_STRING, TRAINING, NULL, NULL, 0, 0, "output", NULL, "DIR",
     "write fetched variables to step_NNN/NAME as Fluid tensor files"},
    {"report", OPTION_STRING, TRAINING, NULL, NULL, 0, 0, "output", NULL, "FILE",
     "one JSON line a step: loss, fetches, milliseconds"},
    {"summary", OPTION_STRING, TRAINING, NULL, NULL, 0, 0, "output", NULL, "FILE",
     "one JSON object at the end"},
    {"progress", OPTION_CHOICE, TRAINING, "auto", "auto|live|lines|off", 0, 0, "output", NULL,
     "HOW", "progress: auto is live on a terminal, else a line each few seconds"},
    {"log_format", OPTION_CHOICE, DAEMONS | X | U, "text", "text|json", 0, 0, "output", NULL, "HOW",
     "log lines as text or as JSON"},
    {"log_level", OPTION_CHOICE, DAEMONS | X | U, "info", "debug|info|warn|error", 0, 0, "output",
     NULL, "LEVEL", "least level of log lines"},

    {"out", OPTION_STRING, X | U, NULL, NULL, 0, 0, NULL, NULL, "DIR", "folder to write to"},
    {"program", OPTION_STRING, V, NULL, NULL, 0, 0, NULL, NULL, "FILE",
     "program that the checkpoint must fit"},
    {"help", OPTION_BOOL, ALL, NULL, NULL, 0, 0, NULL, NULL, NULL, "this text"},
    {"version", OPTION_BOOL, ALL, NULL, NULL, 0, 0, NULL, NULL, NULL, "the version"},
};

const size_t option_table_count = sizeof option_table / sizeof option_table[0];

static size_t edit_distance(const char *a, const char *b);

int option_table_find(const char *name, size_t bytes)
{
    for (size_t i = 0; i < option_table_count; i++)
        if (strlen(option_table[i].name) == bytes && memcmp(option_table[i].name, name, bytes) == 0)
            return (int)i;
    return -1;
}

const char *option_table_nearest(const char *name, unsigned roles)
{
    size_t bytes = strlen(name), best = bytes / 3 + 1;
    const char *found = NULL;
    if (bytes > 64)
        return NULL;
    for (size_t i = 0; i < option_table_count; i++) {
        if (!(option_table[i].roles & roles))
            continue;
        size_t distance = edit_distance(name, option_table[i].name);
        if (distance < best || (distance == best && !found)) {
            best = distance;
            found = option_table[i].name;
        }
    }
    return found;
}

// Levenshtein's distance, one row of the matrix at a time. Both texts are at most 64 bytes.
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[65], columns = strlen(b);
    for (size_t j = 0; j <= columns; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < columns; j++) {
            size_t changed = diagonal + (a[i] != b[j]);
            size_t shorter = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
            diagonal = row[j + 1];
            row[j + 1] = changed < shorter ? changed : shorter;
        }
    }
    return row[columns];
}
