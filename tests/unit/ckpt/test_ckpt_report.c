// SPDX-License-Identifier: Apache-2.0
// The report's line, table and JSON.
#include "tests/unit/ckpt/ckpt_fixture.h"

static void test_summary_line(void **state)
{
    (void)state;
    struct ckpt_report report;
    struct buf text;
    ckpt_report_init(&report);
    buf_init(&text, 0);
    report.path = mem_must_strdup("models/epoch_2");
    report.has_manifest = report.has_progress = true;
    report.progress.step = 936;
    report.bytes = 1992294;
    struct ckpt_item *item = ckpt_report_add(&report, CKPT_SLICED, "w.block1", "w");
    item->row = 4;
    item->rows = 3;
    item->offset = 60;
    item->bytes = 36;
    ckpt_report_add(&report, CKPT_LOADED, "b", "b");
    ckpt_report_add(&report, CKPT_EXTRA, "notes.txt", "notes.txt");
    ckpt_report_summary(&report, "resume", &text);
    assert_string_equal(buf_text(&text),
                        "resume models/epoch_2 (step 936): 2 slices of 2 variables, "
                        "1.9 MiB, sha256 ok; 0 missing, 1 extra (notes.txt)");
    buf_clear(&text);
    report.has_manifest = report.has_progress = false;
    for (int i = 0; i < 6; i++) {
        char name[8];
        snprintf(name, sizeof name, "v%d", i);
        ckpt_report_add(&report, CKPT_MISSING, name, NULL);
    }
    ckpt_report_add(&report, CKPT_KEPT, "learning_rate_0", NULL);
    ckpt_report_summary(&report, "load", &text);
    assert_string_equal(
        buf_text(&text),
        "load models/epoch_2: 2 slices of 2 variables, 1.9 MiB, no manifest; 6 missing "
        "(v0, v1, v2, v3 and 2 more), 1 kept (learning_rate_0), 1 extra (notes.txt)");
    buf_clear(&text);
    ckpt_report_table(&report, &text);
    assert_non_null(
        strstr(buf_text(&text), "sliced   w.block1  rows 4..7 of w  36 bytes from offset 60"));
    buf_clear(&text);
    assert_int_equal(ckpt_report_json(&report, &text), 0);
    assert_non_null(strstr(buf_text(&text), "\"fate\":\"kept\""));
    ckpt_report_deinit(&report);
    buf_deinit(&text);
}

static void test_sizes_are_for_people(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(ckpt_report_size(0, text), "0 bytes");
    assert_string_equal(ckpt_report_size(1023, text), "1023 bytes");
    assert_string_equal(ckpt_report_size(1024, text), "1.0 KiB");
    assert_string_equal(ckpt_report_size(67108864, text), "64.0 MiB");
    assert_string_equal(ckpt_report_size(UINT64_MAX, text), "16777216.0 TiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_summary_line),
        cmocka_unit_test(test_sizes_are_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
