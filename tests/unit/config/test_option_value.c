// SPDX-License-Identifier: Apache-2.0
// Texts to values, type by type.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/err.h"
#include "common/config/option_value.h"

static const struct option_row duration = {.type = OPTION_DURATION, .min = 1, .max = 1e12};
static const struct option_row size = {.type = OPTION_SIZE};
static const struct option_row truth = {.type = OPTION_BOOL};
static const struct option_row number = {.type = OPTION_FLOAT, .min = 0, .max = 1};
static const struct option_row whole = {.type = OPTION_INT, .min = 1, .max = 10};
static const struct option_row choice = {.type = OPTION_CHOICE, .choices = "sgd|adam"};
static const struct option_row ints = {.type = OPTION_INTS, .min = 1, .max = 1000};
static const struct option_row list = {.type = OPTION_LIST};
static const struct option_row every = {.type = OPTION_EVERY};

static void test_option_value_amounts(void **state)
{
    (void)state;
    const struct {
        const struct option_row *row;
        const char *text;
        uint64_t amount;
    } rows[] = {
        {&duration, "600s", 600000}, {&duration, "250ms", 250}, {&duration, "5min", 300000},
        {&duration, "1h", 3600000},  {&duration, "7", 7000},    {&duration, "0.5s", 500},
        {&size, "64MiB", 64u << 20}, {&size, "512B", 512},      {&size, "10kB", 10000},
        {&size, "1.5KiB", 1536},     {&size, "77", 77},         {&size, "0", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct option_value value;
        struct err err = {0};
        assert_int_equal(option_value_parse(rows[i].row, rows[i].text, &value, &err), 0);
        assert_true(value.amount == rows[i].amount);
        option_value_deinit(&value);
    }
}

static void test_option_value_every(void **state)
{
    (void)state;
    const struct {
        const char *text;
        enum option_every_unit unit;
        int64_t count;
    } rows[] = {
        {"500", OPTION_EVERY_STEP, 500},    {"500step", OPTION_EVERY_STEP, 500},
        {"1epoch", OPTION_EVERY_EPOCH, 1},  {"2epochs", OPTION_EVERY_EPOCH, 2},
        {"10min", OPTION_EVERY_MINUTE, 10},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct option_value value;
        struct err err = {0};
        assert_int_equal(option_value_parse(&every, rows[i].text, &value, &err), 0);
        assert_int_equal(value.every.unit, rows[i].unit);
        assert_true(value.every.count == rows[i].count);
        option_value_deinit(&value);
    }
}

static void test_option_value_refuses(void **state)
{
    (void)state;
    const struct {
        const struct option_row *row;
        const char *text, *why;
    } rows[] = {
        {&duration, "10x", "not a time"},   {&duration, "s", "not a time"},
        {&duration, "-1s", "not a time"},   {&duration, "1 s", "not a time"},
        {&duration, "0s", "out of range"},  {&duration, "99999999999999999999h", "not a time"},
        {&duration, ".s", "not a time"},    {&size, "10Mb", "not a size"},
        {&truth, "yes", "not true"},        {&truth, "TRUE", "not true"},
        {&number, "1.5", "out of range"},   {&number, "nan", "finite"},
        {&number, "inf", "finite"},         {&number, "x", "finite"},
        {&whole, "0", "out of range"},      {&whole, "11", "out of range"},
        {&whole, "1.0", "whole number"},    {&whole, "9223372036854775808", "whole number"},
        {&choice, "sg", "not one of"},      {&choice, "sgd|adam", "not one of"},
        {&ints, "200,,200", "empty"},       {&ints, "200,x", "whole number"},
        {&ints, "0,5", "out of range"},     {&list, "a,,b", "empty"},
        {&list, "a,", "empty"},             {&every, "epoch", "not a number"},
        {&every, "1.5min", "not a number"}, {&every, "1 epoch", "not a number"},
        {&every, "-1", "not a number"},     {&whole, "", "empty"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct option_value value;
        struct err err = {0};
        assert_int_equal(option_value_parse(rows[i].row, rows[i].text, &value, &err), SL_EINVAL);
        if (!strstr(err.text, rows[i].why))
            fail_msg("%s: %s", rows[i].text, err.text);
    }
}

static void test_option_value_equality_is_by_meaning(void **state)
{
    (void)state;
    const struct {
        const struct option_row *row;
        const char *a, *b;
        bool equal;
    } rows[] = {
        {&duration, "60s", "1min", true}, {&duration, "60s", "61", false},
        {&number, "0.10", "1e-1", true},  {&whole, "07", "7", true},
        {&truth, "1", "true", true},      {&ints, "1, 2", "1,2", true},
        {&ints, "1,2", "1,2,3", false},   {&every, "5", "5step", true},
        {&every, "5", "5epoch", false},   {&choice, "sgd", "adam", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct option_value a, b;
        assert_int_equal(option_value_parse(rows[i].row, rows[i].a, &a, NULL), 0);
        assert_int_equal(option_value_parse(rows[i].row, rows[i].b, &b, NULL), 0);
        assert_int_equal(option_value_equal(rows[i].row, &a, &b), rows[i].equal);
        option_value_deinit(&a);
        option_value_deinit(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_option_value_amounts),
        cmocka_unit_test(test_option_value_every),
        cmocka_unit_test(test_option_value_refuses),
        cmocka_unit_test(test_option_value_equality_is_by_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
