// SPDX-License-Identifier: Apache-2.0
// The small model of ckpt_fixture.h, saved in at("m") before each test, and another scope to load
// it into.
#pragma once

#include "tests/unit/ckpt/ckpt_fixture.h"

static struct program *program;
static struct scope *saved, *scope;
static struct ckpt_report report;
static struct err err;

static int setup(void **state)
{
    int rc = fixture_setup(state);
    program = model_program();
    saved = model_scope(1);
    scope = model_scope(5000);
    ckpt_report_init(&report);
    err = (struct err){0};
    assert_int_equal(save_model(saved, at("m"), 10, false, NULL, &err), 0);
    return rc;
}

static int teardown(void **state)
{
    program_free(program);
    scope_free(saved);
    scope_free(scope);
    ckpt_report_deinit(&report);
    return fixture_teardown(state);
}
