// SPDX-License-Identifier: Apache-2.0
// The table itself: names, defaults, help; and the sample job file, which must show every option.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/config/option_value.h"

static void test_option_table_rows_are_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option_row *row = &option_table[i];
        struct option_value value;
        struct err err = {0};
        assert_int_equal(option_table_find(row->name, strlen(row->name)), i);
        assert_true(row->roles != 0 && strlen(row->help) > 5);
        assert_int_equal(row->value == NULL, row->type == OPTION_BOOL);
        assert_int_equal(row->choices != NULL, row->type == OPTION_CHOICE);
        if (row->fallback) {
            if (option_value_parse(row, row->fallback, &value, &err) != 0)
                fail_msg("%s: default: %s", row->name, err.text);
            option_value_deinit(&value);
        }
    }
    assert_int_equal(option_table_find("nonsense", 8), -1);
    assert_int_equal(option_table_find("rol", 3), -1);
}

static void test_option_table_has_the_jobs_options(void **state)
{
    (void)state;
    const char *all =
        "config role model main_program startup_program loss params_list optimizer learning_rate "
        "momentum beta1 beta2 epsilon use_nesterov hidden pservers trainers trainer_id "
        "current_endpoint sync_mode slice_var_up split_method min_block_size enable_dc_asgd "
        "half_async init clip_merged fluid_exact data test_data feed_dir batch_size epochs steps "
        "first_step seed shard drop_last "
        "shuffle save_dir save_every keep load_dir resume init_from if_no_checkpoint "
        "learning_rate_from load_except fetch fetch_dir report summary connect_timeout deadline "
        "insecure out log_format log_level job_id progress program";
    struct str_list names = {0};
    str_list_split(&names, all, ' ');
    for (size_t i = 0; i < names.count; i++)
        if (option_table_find(names.items[i], strlen(names.items[i])) < 0)
            fail_msg("--%s is missing", names.items[i]);
    str_list_deinit(&names);
}

static void test_option_table_finds_the_nearest_name(void **state)
{
    (void)state;
    const char *const rows[][2] = {
        {"batch-size", "batch_size"},
        {"bach_size", "batch_size"},
        {"leraning_rate", "learning_rate"},
        {"trainer", "trainers"},
        {"savedir", "save_dir"},
        {"zzzzzz", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *got = option_table_nearest(rows[i][0], ~0u);
        if (!str_eq(got, rows[i][1]))
            fail_msg("%s: got %s", rows[i][0], got ? got : "nothing");
    }
    assert_null(option_table_nearest("batch_size", OPTION_PULL));
}

// One line of the sample: "key = value" or ";key = value"; false for prose and headings.
static bool sample_line(char *line, char **out_key, char **out_value, bool *out_active)
{
    *out_active = *line != ';';
    char *key = *out_active ? line : line + 1;
    char *equals = strstr(key, " = ");
    if (!equals || strcspn(key, " ") != (size_t)(equals - key) || *key == ' ')
        return false;
    *equals = 0;
    *out_key = key;
    *out_value = equals + 3;
    return true;
}

static void test_option_table_agrees_with_the_sample_job_file(void **state)
{
    (void)state;
    const char *root = getenv("SLUICE_SOURCE_ROOT");
    char *path = fsutil_join(root ? root : ".", "deploy/conf/job.conf");
    struct buf text;
    struct err err = {0};
    struct map seen;
    struct str_list lines = {0};
    char section[32] = "";
    buf_init(&text, 0);
    map_init(&seen);
    if (fsutil_read(path, 1u << 20, &text, &err) != 0)
        fail_msg("%s", err.text);
    str_list_split(&lines, buf_text(&text), '\n');
    for (size_t i = 0; i < lines.count; i++) {
        char *key, *value;
        bool active;
        if (lines.items[i][0] == '[')
            snprintf(section, sizeof section, "%.*s", (int)strcspn(lines.items[i] + 1, "]"),
                     lines.items[i] + 1);
        if (!sample_line(lines.items[i], &key, &value, &active))
            continue;
        int row = option_table_find(key, strlen(key));
        if (row < 0 || !option_table[row].section)
            fail_msg("line %zu: %s is no key", i + 1, key);
        if (!str_eq(option_table[row].section, section))
            fail_msg("line %zu: %s belongs to [%s]", i + 1, key, option_table[row].section);
        if (map_get(&seen, key))
            fail_msg("line %zu: %s is there twice", i + 1, key);
        map_set(&seen, key, key);
        struct option_value parsed;
        if (option_value_parse(&option_table[row], value, &parsed, &err) != 0)
            fail_msg("line %zu: %s: %s", i + 1, key, err.text);
        option_value_deinit(&parsed);
        if (!active && option_table[row].fallback && !str_eq(option_table[row].fallback, value))
            fail_msg("line %zu: %s: the default is %s", i + 1, key, option_table[row].fallback);
    }
    for (size_t i = 0; i < option_table_count; i++)
        if (option_table[i].section && !map_get(&seen, option_table[i].name))
            fail_msg("%s: %s is missing", path, option_table[i].name);
    map_deinit(&seen);
    str_list_deinit(&lines);
    buf_deinit(&text);
    mem_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_option_table_rows_are_sound),
        cmocka_unit_test(test_option_table_has_the_jobs_options),
        cmocka_unit_test(test_option_table_finds_the_nearest_name),
        cmocka_unit_test(test_option_table_agrees_with_the_sample_job_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
