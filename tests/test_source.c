/* test_source.c — messages with place, line and caret: ordinary lines, UTF-8, tabs, long lines, places
 * outside. */
#include "source.h"
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static const char text[] = "first\n  second\tline\r\n\xce\xb1 = \xce\xb2\nlast";

static void check(Loc loc, const char *expected) {
    FraxError err;
    Source source = {"m.frax", text};
    assert_int_equal(fail_at(&err, FRAX_NAME, &source, loc, "unknown %s", "x"), FRAX_NAME);
    assert_string_equal(err.message, expected);
    assert_int_equal(err.status, FRAX_NAME);
    assert_int_equal(err.line, loc.line);
    assert_int_equal(err.column, loc.column);
}

static void test_places(void **state) {
    (void)state;
    check((Loc){1, 1}, "m.frax:1:1: unknown x\nfirst\n^");
    check((Loc){2, 10}, "m.frax:2:10: unknown x\n  second line\n         ^");
    check((Loc){3, 6}, "m.frax:3:6: unknown x\n\xce\xb1 = \xce\xb2\n    ^");
    check((Loc){4, 99}, "m.frax:4:99: unknown x\nlast\n    ^");
    check((Loc){9, 1}, "m.frax:9:1: unknown x\n\n^");
    check((Loc){0, 0}, "m.frax: unknown x");
}

static void test_long_line(void **state) {
    (void)state;
    char line[5000], message[3000];
    memset(line, 'a', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    line[3000] = 'X';
    memset(message, 'm', sizeof message - 1);
    message[sizeof message - 1] = '\0';
    FraxError err;
    Source source = {"f", line};
    fail_at(&err, FRAX_SYNTAX, &source, (Loc){1, 3001}, "%s", message);
    assert_true(strlen(err.message) < sizeof err.message);
    const char *shown = strchr(err.message, '\n') + 1, *carets = strchr(shown, '\n') + 1;
    assert_int_equal(shown[strchr(carets, '^') - carets], 'X');
}

static void test_locates_an_error(void **state) {
    (void)state;
    FraxError err;
    (fail)(&err, FRAX_SHAPE, "add: shapes differ"); /* cmocka has a macro of this name */
    assert_int_equal(locate_error(&err, &(Source){"g", NULL}, (Loc){7, 2}), FRAX_SHAPE);
    assert_string_equal(err.message, "g:7:2: add: shapes differ");
    assert_int_equal(fail_at(NULL, FRAX_TYPE, &(Source){"g", NULL}, (Loc){1, 1}, "x"), FRAX_TYPE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_locates_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
