/* test_svg.c — the chart writer: what it writes is well-formed XML whatever it is given, gaps stay gaps, and
 * the picture holds the data where the axes say.
 *
 * A small checker reads the document back: tags balance, attributes are quoted, only the five entities occur,
 * every byte is valid. Coordinates are then read from the paths.
 */
#include "svg.h"
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- A reader of XML, as much of it as charts use ---- */

static bool is_entity(const char *s) {
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&quot;"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (strncmp(s, names[i], strlen(names[i])) == 0) return true;
    return false;
}

/* The end of the tag that opens at s, or NULL: attributes are name="value" without < or a bare &. */
static const char *end_of_tag(const char *s) {
    for (s++; *s && *s != '>'; s++) {
        if (*s == '<') return NULL;
        if (*s != '"') continue;
        for (s++; *s && *s != '"'; s++)
            if (*s == '<' || (*s == '&' && !is_entity(s))) return NULL;
        if (!*s) return NULL;
    }
    return *s ? s : NULL;
}

static bool well_formed(const char *s) {
    const char *open[16];
    int depth = 0;
    for (; *s; s++) {
        if ((*s == '&' && !is_entity(s)) || *s == '>') return false;
        if ((unsigned char)*s < 0x20 && *s != '\n' && *s != '\t') return false;
        if (*s != '<') continue;
        const char *end = end_of_tag(s);
        if (!end) return false;
        if (s[1] == '/') {
            size_t n = (size_t)(end - s - 2);
            if (depth == 0 || strncmp(open[--depth], s + 2, n) != 0) return false;
        } else if (end[-1] != '/') {
            if (depth == (int)COUNT(open)) return false;
            open[depth++] = s + 1;
        }
        s = end;
    }
    return depth == 0;
}

static size_t occurrences(const char *text, const char *what) {
    size_t n = 0;
    for (const char *s = text; (s = strstr(s, what)); s += strlen(what)) n++;
    return n;
}

/* ---- Charts ---- */

static void assert_near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance))
        fail_msg("got %g, expected %g within %g", got, expected, tolerance);
}

static Text draw(const SvgSeries *series, size_t n, bool log_y) {
    SvgPanel panel = {
        .title = "panel", .x_label = "x", .y_label = "y", .series = series, .nseries = n, .log_y = log_y};
    Text out = {0};
    assert_int_equal(svg_lines(&(SvgChart){"chart", &panel, 1}, &out), FRAX_OK);
    assert_true(well_formed(out.data));
    return out;
}

/* The path data of the k-th line, as a new string. */
static char *line_of(const char *svg, int k) {
    const char *s = svg;
    for (int i = 0; i <= k; i++) s = strstr(i ? s + 1 : s, "style=\"stroke:");
    assert_non_null(s);
    s = strstr(s, " d=\"") + 4;
    return strndup(s, strcspn(s, "\""));
}

static void test_checker_finds_faults(void **state) {
    (void)state;
    assert_true(well_formed("<a b=\"1\"><c/>x &amp; y</a>"));
    static const char *const faulty[] = {"<a>",         "<a></b>", "<a b=\"<\"/>", "<a>&</a>",
                                         "<a>\x01</a>", "</a>",    "<a",           "x>y"};
    for (size_t i = 0; i < COUNT(faulty); i++) assert_false(well_formed(faulty[i]));
}

static void test_line_follows_its_values(void **state) {
    (void)state;
    const double y[] = {0, 10, 5};
    Text out = draw(&(SvgSeries){NULL, 3, NULL, y}, 1, false);
    char *line = line_of(out.data, 0);
    double x0, y0, x1, y1, x2, y2;
    assert_int_equal(sscanf(line, "M%*f %*fL%lf %lfL%lf %lfL%lf %lf", &x0, &y0, &x1, &y1, &x2, &y2), 6);
    assert_near(x1 - x0, x2 - x1, 0.11); /* coordinates are rounded to 0.1 */
    assert_near(y2, (y0 + y1) / 2, 0.11);
    assert_true(y1 < y0); /* upwards on the screen */
    free(line);
    text_free(&out);
}

static void test_gaps(void **state) {
    (void)state;
    const double y[] = {1, 2, NAN, 3, INFINITY, 4, 5, -INFINITY}, x[] = {0, NAN, 2, 3, 4, 5, 6, 7};
    Text out = draw((SvgSeries[]){{"a", 8, NULL, y}, {"b", 8, x, y}}, 2, false);
    char *a = line_of(out.data, 0), *b = line_of(out.data, 1);
    assert_int_equal(occurrences(a, "M"), 3); /* 1 2 | 3 | 4 5 */
    assert_int_equal(occurrences(a, "L"), 5);
    assert_int_equal(occurrences(b, "M"), 3); /* 1 | 3 | 4 5 */
    assert_int_equal(occurrences(b, "L"), 4);
    assert_null(strstr(out.data, "nan"));
    assert_null(strstr(out.data, "inf"));
    free(a);
    free(b);
    text_free(&out);
}

static void test_log_axis_leaves_out_what_is_not_positive(void **state) {
    (void)state;
    const double y[] = {1000, 1, 0, -1, 0.001};
    Text out = draw(&(SvgSeries){"loss", 5, NULL, y}, 1, true);
    char *line = line_of(out.data, 0);
    double top, middle, bottom;
    assert_int_equal(sscanf(line, "M%*f %*fL%*f %lfL%*f %lfM%*f %*fL%*f %lf", &top, &middle, &bottom), 3);
    assert_near(middle, (top + bottom) / 2, 0.11); /* equal ratios are equal distances */
    free(line);
    text_free(&out);
}

static void test_logarithmic_x_axis(void **state) {
    (void)state;
    const double x[] = {32, 1024, 32768, 0}, y[] = {1, 2, 4, 8}, floor[] = {1, 1, 1, 1};
    const SvgSeries series[] = {{"times", 4, x, y},
                                {.name = "floor", .n = 4, .x = x, .y = floor, .reference = true}};
    SvgPanel panel = {.series = series, .nseries = 2, .log_x = true, .log_y = true, .height = 300};
    Text out = {0};
    assert_int_equal(svg_lines(&(SvgChart){NULL, &panel, 1}, &out), FRAX_OK);
    assert_true(well_formed(out.data));
    char *line = line_of(out.data, 0);
    double left, middle, right;
    assert_int_equal(sscanf(line, "M%*f %*fL%lf %*fL%lf %*fL%lf %*f", &left, &middle, &right), 3);
    assert_near(middle, (left + right) / 2, 0.11);
    assert_int_equal(occurrences(line, "L"), 3); /* the point at 0 is left out */
    assert_int_equal(occurrences(out.data, ">64<"), 1);
    assert_int_equal(occurrences(out.data, ">32768<"), 1);
    assert_int_equal(occurrences(out.data, "<circle"), 3); /* a reference has no dots */
    free(line);
    text_free(&out);
}

static void test_empty_and_odd_data(void **state) {
    (void)state;
    static const double cases[][3] = {{NAN, NAN, NAN}, {0, 0, 0},           {5, 5, 5},
                                      {1e-320, 0, 0},  {1e300, -1e300, 0},  {1, 1 + 1e-15, 1},
                                      {-1e-5, 0, 3},   {1e9, 1e9 + 1, 1e9}, {INFINITY, 1e308, 0},
                                      {-7, -7, -7},    {1e-290, 1, 1e290},  {123456, 123457, 123458}};
    for (size_t i = 0; i < COUNT(cases); i++)
        for (int log_y = 0; log_y < 2; log_y++) {
            Text out = draw(&(SvgSeries){"s", 3, NULL, cases[i]}, 1, log_y);
            assert_null(strstr(out.data, "nan"));
            assert_null(strstr(out.data, "inf"));
            text_free(&out);
        }
    Text empty = draw(NULL, 0, false), none = draw(&(SvgSeries){"s", 0, NULL, NULL}, 1, true);
    assert_non_null(strstr(empty.data, "no data"));
    assert_non_null(strstr(none.data, "no data"));
    text_free(&empty);
    text_free(&none);
    Text out = {0};
    assert_int_equal(svg_lines(&(SvgChart){0}, &out), FRAX_OK);
    assert_true(well_formed(out.data));
    text_free(&out);
}

static void test_texts_are_escaped(void **state) {
    (void)state;
    static const char hostile[] = "<a href=\"x\">&\x01\xff\xc0\x80\xed\xa0\x80 10\xe2\x81\xb8 m\xc2\xb3";
    const double y[] = {1, 2};
    SvgSeries series = {hostile, 2, NULL, y};
    SvgPanel panel = {hostile, hostile, hostile, &series, 1, false};
    Text out = {0};
    assert_int_equal(svg_lines(&(SvgChart){hostile, &panel, 1, hostile}, &out), FRAX_OK);
    assert_true(well_formed(out.data));
    /* The document's title, the chart's two, the panel's, two labels, the legend. */
    assert_int_equal(occurrences(out.data, "&lt;a href=&quot;x&quot;&gt;&amp;\xef\xbf\xbd"), 7);
    assert_int_equal(occurrences(out.data, "\xef\xbf\xbd 10\xe2\x81\xb8 m\xc2\xb3"), 7);
    assert_null(strstr(out.data, "\xff"));
    assert_null(strstr(out.data, "\xed\xa0\x80"));
    text_free(&out);
}

static void test_long_series_keep_their_extremes(void **state) {
    (void)state;
    enum { N = 300000 };
    double *y = calloc(N, sizeof *y);
    y[123456] = 1, y[200001] = -1;
    Text out = draw(&(SvgSeries){NULL, N, NULL, y}, 1, false);
    char *line = line_of(out.data, 0);
    double least = 1e9, most = -1e9;
    for (const char *s = line; (s = strchr(s, 'L')); s++) {
        double at;
        assert_int_equal(sscanf(s, "L%*f %lf", &at), 1);
        least = fmin(least, at), most = fmax(most, at);
    }
    assert_true(occurrences(line, "L") <= 4000);
    assert_true(most - least > 150); /* the full height of the plot */
    free(line);
    free(y);
    text_free(&out);
}

/* Series without x are counted: their axis has no tick between two whole numbers; few values are dots too. */
static void test_counts_have_whole_ticks(void **state) {
    (void)state;
    const double y[] = {3, 2, 1}, x[] = {0, 1, 2};
    Text counted = draw(&(SvgSeries){NULL, 3, NULL, y}, 1, false);
    Text measured = draw(&(SvgSeries){NULL, 3, x, y}, 1, false);
    assert_null(strstr(counted.data, ">0.2<"));
    assert_non_null(strstr(measured.data, ">0.2<"));
    assert_int_equal(occurrences(counted.data, "<circle "), 3);
    text_free(&counted);
    text_free(&measured);
}

static void test_bars(void **state) {
    (void)state;
    const char *const groups[] = {"forward & back", "step"}, *const series[] = {"eager", "fused"};
    const double values[] = {4, 1, NAN, 2};
    Text out = {0};
    assert_int_equal(svg_bars(&(SvgBars){"bench", "ms", groups, 2, series, 2, values}, &out), FRAX_OK);
    assert_true(well_formed(out.data));
    double widths[3];
    const char *s = out.data;
    assert_int_equal(occurrences(s, "<rect x="), 3); /* the value that is not a number has none */
    for (int i = 0; i < 3; i++) {
        s = strstr(s + 1, "<rect x=");
        assert_int_equal(sscanf(strstr(s, "width="), "width=\"%lf", &widths[i]), 1);
    }
    assert_near(widths[0], 4 * widths[1], 0.4);
    assert_near(widths[0], 2 * widths[2], 0.3);
    text_free(&out);
    assert_int_equal(svg_bars(&(SvgBars){0}, &out), FRAX_OK);
    assert_true(well_formed(out.data));
    text_free(&out);
}

static void test_locale_has_no_say(void **state) {
    (void)state;
    const double y[] = {0.25, 0.75};
    Text plain = draw(&(SvgSeries){"s", 2, NULL, y}, 1, false);
    if (!setlocale(LC_ALL, "de_DE.UTF-8")) setlocale(LC_ALL, "");
    Text other = draw(&(SvgSeries){"s", 2, NULL, y}, 1, false);
    setlocale(LC_ALL, "C");
    assert_string_equal(plain.data, other.data);
    text_free(&plain);
    text_free(&other);
}

static void test_out_of_memory(void **state) {
    (void)state;
    const double y[] = {1, 2, 3};
    SvgSeries series = {"s", 3, NULL, y};
    SvgPanel panel = {.series = &series, .nseries = 1};
    SvgChart chart = {"chart", &panel, 1};
    for (long n = 1;; n++) {
        Text out = {0};
        mem_fail_after(n);
        FraxStatus status = svg_lines(&chart, &out);
        mem_fail_after(0);
        bool complete = status == FRAX_OK && well_formed(out.data);
        text_free(&out);
        assert_true(complete || status == FRAX_MEMORY);
        if (complete) break;
        assert_true(n < 100);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checker_finds_faults),
        cmocka_unit_test(test_line_follows_its_values),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_log_axis_leaves_out_what_is_not_positive),
        cmocka_unit_test(test_logarithmic_x_axis),
        cmocka_unit_test(test_empty_and_odd_data),
        cmocka_unit_test(test_texts_are_escaped),
        cmocka_unit_test(test_long_series_keep_their_extremes),
        cmocka_unit_test(test_counts_have_whole_ticks),
        cmocka_unit_test(test_bars),
        cmocka_unit_test(test_locale_has_no_say),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
