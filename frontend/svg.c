/* svg.c — line and bar charts as SVG text, for `--plot` and the demo.
 *
 * A chart is laid out from top to bottom: title, then for each panel its title, its legend, its plot with
 * axes. Widths of texts are estimated from their number of characters, generously, since the reader's fonts
 * are unknown. Numbers are written here digit by digit and never by printf's %f, whose decimal point depends
 * on the locale of the host program. Colours: Okabe and Ito (2008), which the colour-blind can tell apart.
 */
#include "svg.h"
#include <math.h>
#include <string.h>

enum {
    WIDTH = 860,
    LEFT = 92, /* room for tick labels and a turned axis label */
    RIGHT = 28,
    PLOT_HEIGHT = 180,
    LEGEND_ROW = 20,
    MAX_TICKS = 24,
    MAX_BINARY_TICKS = 12,
    MAX_POINTS = 4000, /* of a line; longer series are drawn by the extremes of MAX_POINTS / 2 buckets */
    MAX_DOTS = 40,     /* a line of no more values shows each as a dot */
    BAR = 16,
    BAR_GAP = 14, /* between groups */
};

static const char *const palette[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"};
static const char reference_colour[] = "#666666";
static const char *const dashes[] = {"none", "7 3", "2 3"}; /* from the seventh series on */

static const char style[] =
    "text{font-family:system-ui,'Segoe UI','DejaVu Sans',sans-serif;font-size:12px;fill:#333}"
    ".title{font-size:18px;font-weight:600;fill:#111}"
    ".subtitle{font-size:13px;fill:#555}"
    ".panel{font-size:14px;font-weight:600;fill:#222}"
    ".end{text-anchor:end}.mid{text-anchor:middle}"
    ".grid{stroke:#e4e4e4;fill:none}.axis{stroke:#888;fill:none}"
    ".line{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}";

/* An axis: values lo..hi onto pixels from..to, with the places of its tick marks. */
typedef struct Scale {
    double lo, hi, from, to;
    bool log, whole; /* whole: ticks at whole numbers only */
    bool binary;     /* of a logarithmic axis: ticks at powers of two */
    double step;     /* between ticks of a linear axis */
    double ticks[MAX_TICKS];
    int nticks;
} Scale;

typedef struct Point {
    double x, y;
} Point;

/* ---- Text ---- */

/* Bytes of the UTF-8 character at s that XML 1.0 allows, or 0. */
static size_t xml_char(const unsigned char *s) {
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 0x20}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t extra = 0; extra < COUNT(forms); extra++) {
        if ((s[0] & forms[extra].mask) != forms[extra].lead) continue;
        uint32_t c = s[0] & (unsigned char)~forms[extra].mask;
        for (size_t i = 1; i <= extra; i++) {
            if ((s[i] & 0xc0) != 0x80) return 0;
            c = c << 6 | (s[i] & 0x3f);
        }
        bool allowed = c >= forms[extra].least && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) &&
                       c != 0xfffe && c != 0xffff;
        return allowed || c == '\t' || c == '\n' ? extra + 1 : 0;
    }
    return 0;
}

static void put_escaped(Text *out, const char *s) {
    while (*s) {
        static const char *const names[][2] = {
            {"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}};
        size_t n = xml_char((const unsigned char *)s), k = 0;
        while (k < COUNT(names) && *s != names[k][0][0]) k++;
        if (n == 0)
            text_printf(out, "\xef\xbf\xbd");
        else if (k < COUNT(names))
            text_printf(out, "%s", names[k][1]);
        else
            text_append(out, s, n);
        s += n ? n : 1;
    }
}

/* An upper estimate of the width in pixels of a text of 12px. */
static double text_width(const char *s) {
    double chars = 0;
    for (; *s; s++) chars += (*s & 0xc0) != 0x80;
    return 7 * chars;
}

static void put_fixed(Text *out, double v, int decimals) {
    long long scale = 1;
    for (int i = 0; i < decimals; i++) scale *= 10;
    long long n = llround(fabs(v) * (double)scale);
    if (v < 0 && n) text_printf(out, "-");
    text_printf(out, "%lld", n / scale);
    if (decimals) text_printf(out, ".%0*lld", decimals, n % scale);
}

/* A value on an axis on which neighbours differ by `step` and the largest magnitude is `most`. */
static void put_value(Text *out, double v, double step, double most) {
    int exponent = 0, decimals = 0;
    if (most >= 1e6 || most < 1e-3) exponent = v != 0 ? (int)floor(log10(fabs(v)) + 1e-12) : 0;
    double unit = pow(10, exponent), rest = step / unit;
    while (decimals < 12 && fabs(rest - round(rest)) > 1e-6 * rest) rest *= 10, decimals++;
    put_fixed(out, v / unit, v != 0 ? decimals : 0);
    if (exponent) text_printf(out, "e%d", exponent);
}

/* ` name="v"`, to a tenth of a pixel. */
static void put_attribute(Text *out, const char *name, double v) {
    text_printf(out, " %s=\"", name);
    put_fixed(out, v, 1);
    text_printf(out, "\"");
}

static void open_text(Text *out, const char *class, double x, double y) {
    text_printf(out, "<text");
    if (class) text_printf(out, " class=\"%s\"", class);
    put_attribute(out, "x", x);
    put_attribute(out, "y", y);
    text_printf(out, ">");
}

static void put_label(Text *out, const char *class, double x, double y, const char *s) {
    if (!s) return;
    open_text(out, class, x, y);
    put_escaped(out, s);
    text_printf(out, "</text>\n");
}

static void put_point(Text *out, char command, Point p) {
    text_printf(out, "%c", command);
    put_fixed(out, p.x, 1);
    text_printf(out, " ");
    put_fixed(out, p.y, 1);
}

static void put_rule(Text *out, const char *class, Point from, Point to) {
    text_printf(out, "<path class=\"%s\" d=\"", class);
    put_point(out, 'M', from);
    put_point(out, 'L', to);
    text_printf(out, "\"/>\n");
}

static void put_bar(Text *out, Point from, Point to, const char *colour) {
    text_printf(out, "<rect");
    put_attribute(out, "x", MIN(from.x, to.x));
    put_attribute(out, "y", MIN(from.y, to.y));
    put_attribute(out, "width", fabs(to.x - from.x));
    put_attribute(out, "height", fabs(to.y - from.y));
    text_printf(out, " fill=\"%s\"/>\n", colour);
}

/* ---- Scales ---- */

static bool drawable(double v, bool log) {
    return fabs(v) <= 1e300 && (!log || v >= 1e-300); /* false for NaN; beyond, differences overflow */
}

static double scaled(const Scale *s, double v) {
    double part = s->log ? log10(v / s->lo) / log10(s->hi / s->lo) : (v - s->lo) / (s->hi - s->lo);
    return s->from + part * (s->to - s->from);
}

static void widen(Scale *s, double v) {
    if (!drawable(v, s->log)) return;
    s->lo = fmin(s->lo, v);
    s->hi = fmax(s->hi, v);
}

static void add_tick(Scale *s, double v, double slack) {
    if (s->nticks < MAX_TICKS && v >= s->lo - slack && v <= s->hi + slack) s->ticks[s->nticks++] = v;
}

/* Ticks at 1, 2, 5 of each decade, or at every decade, or at every few. */
static void log_ticks(Scale *s) {
    static const double mantissas[] = {1, 2, 5};
    int low = (int)floor(log10(s->lo)), high = (int)ceil(log10(s->hi));
    int stride = (high - low + 7) / 8;
    size_t nmantissas = high - low <= 3 ? COUNT(mantissas) : 1;
    if (nmantissas == 1 || s->hi < 2 * s->lo) s->lo = pow(10, low), s->hi = pow(10, high);
    for (int decade = low; decade <= high; decade += stride)
        for (size_t i = 0; i < nmantissas; i++) {
            double v = mantissas[i] * pow(10, decade);
            add_tick(s, v, 1e-9 * v);
        }
}

/* Ticks at powers of two, or at every few, up to the highest. */
static void binary_ticks(Scale *s) {
    int low = (int)ceil(log2(s->lo) - 1e-9), high = (int)floor(log2(s->hi) + 1e-9);
    int stride = (high - low) / MAX_BINARY_TICKS + 1;
    for (int power = high - (high - low) / stride * stride; power <= high; power += stride)
        add_tick(s, ldexp(1, power), 1e-9 * s->hi);
}

/* Ticks at multiples of 1, 2 or 5 times a power of ten, about `target` of them (Heckbert, "Nice numbers for
   graph labels", 1990); with `round_out` the axis is extended to whole multiples. */
static void linear_ticks(Scale *s, int target, bool round_out) {
    double rough = (s->hi - s->lo) / target, power = pow(10, floor(log10(rough))), f = rough / power;
    s->step = power * (f < 1.5 ? 1 : f < 3 ? 2 : f < 7 ? 5 : 10);
    if (s->whole) s->step = fmax(s->step, 1);
    double first = floor(s->lo / s->step + 1e-9), last = ceil(s->hi / s->step - 1e-9);
    if (round_out) s->lo = first * s->step, s->hi = last * s->step;
    for (double k = first; k <= last; k++) add_tick(s, k * s->step, 1e-6 * s->step);
}

/* Settles an axis after its values were given to widen. False when there were none. */
static bool settle(Scale *s, int target, bool round_out) {
    bool any = s->lo <= s->hi;
    if (!any) s->lo = s->log, s->hi = 1;
    double margin = 1e-9 * fmax(fabs(s->lo), fabs(s->hi));
    if (s->log) {
        if (s->hi - s->lo <= margin) s->lo /= 2, s->hi *= 2;
        if (s->binary)
            binary_ticks(s);
        else
            log_ticks(s);
        return any;
    }
    if (s->hi - s->lo <= margin) {
        double around = s->lo != 0 ? 0.5 * fabs(s->lo) : 1;
        s->lo -= around, s->hi += around;
    }
    linear_ticks(s, target, round_out);
    return any;
}

static Scale new_scale(double from, double to, bool log) {
    return (Scale){.lo = INFINITY, .hi = -INFINITY, .from = from, .to = to, .log = log};
}

static void put_tick_value(Text *out, const Scale *s, int i) {
    double v = s->ticks[i], most = fmax(fabs(s->lo), fabs(s->hi));
    if (s->log)
        put_value(out, v, v, v);
    else
        put_value(out, v, s->step, most);
}

/* ---- Parts of a chart ---- */

static double begin_body(Text *body, const char *title, const char *subtitle) {
    put_label(body, "title", 20, 32, title);
    put_label(body, "subtitle", 20, 52, subtitle);
    return subtitle ? 70 : title ? 52 : 16;
}

/* Writes the document around `body`, which it frees. */
static FraxStatus finish_chart(Text *out, Text *body, const char *title, double height) {
    text_printf(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
                "role=\"img\">\n<title>",
                WIDTH, (int)height, WIDTH, (int)height);
    put_escaped(out, title ? title : "chart");
    text_printf(out, "</title>\n<style>%s</style>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
                style);
    if (body->data) text_append(out, body->data, body->len);
    text_printf(out, "</svg>\n");
    bool failed = body->failed || out->failed;
    text_free(body);
    return failed ? FRAX_MEMORY : FRAX_OK;
}

/* The beginning of the path of series i. */
static void open_line(Text *out, const SvgSeries *series, size_t i, const char *width) {
    text_printf(out, "<path class=\"line\" style=\"%sstroke:%s;stroke-dasharray:%s\" d=\"", width,
                series->reference ? reference_colour : palette[i % COUNT(palette)],
                series->reference ? dashes[1] : dashes[i / COUNT(palette) % COUNT(dashes)]);
}

/* Writes an entry at the pen and moves the pen, to the next row where this one is full. */
static void legend_entry(Text *out, const SvgSeries *series, size_t i, Point *pen) {
    double width = text_width(series->name) + 44;
    if (pen->x > LEFT && pen->x + width > WIDTH - RIGHT) *pen = (Point){LEFT, pen->y + LEGEND_ROW};
    open_line(out, series, i, "stroke-width:3;");
    put_point(out, 'M', (Point){pen->x + 2, pen->y + 8});
    put_point(out, 'L', (Point){pen->x + 18, pen->y + 8});
    text_printf(out, "\"/>\n");
    put_label(out, NULL, pen->x + 26, pen->y + 12, series->name);
    pen->x += width;
}

static void put_x_axis(Text *out, const Scale *s, double top, double bottom) {
    for (int i = 0; i < s->nticks; i++) {
        double x = scaled(s, s->ticks[i]);
        put_rule(out, "grid", (Point){x, top}, (Point){x, bottom});
        open_text(out, "mid", x, bottom + 16);
        put_tick_value(out, s, i);
        text_printf(out, "</text>\n");
    }
}

static void put_y_axis(Text *out, const Scale *s, const char *label) {
    for (int i = 0; i < s->nticks; i++) {
        double y = scaled(s, s->ticks[i]);
        put_rule(out, "grid", (Point){LEFT, y}, (Point){WIDTH - RIGHT, y});
        open_text(out, "end", LEFT - 8, y + 4);
        put_tick_value(out, s, i);
        text_printf(out, "</text>\n");
    }
    if (!label) return;
    text_printf(out, "<text class=\"mid\" transform=\"translate(22 %d) rotate(-90)\">",
                (int)((s->from + s->to) / 2));
    put_escaped(out, label);
    text_printf(out, "</text>\n");
}

/* ---- Lines ---- */

static double x_of(const SvgSeries *s, size_t i) {
    return s->x ? s->x[i] : (double)i;
}

/* How a line is drawn: what is not drawable on either scale leaves a gap. */
typedef struct Frame {
    Scale x, y;
} Frame;

static bool has_point(const SvgSeries *s, size_t i, const Frame *frame) {
    return drawable(x_of(s, i), frame->x.log) && drawable(s->y[i], frame->y.log);
}

/* The places of the least and the greatest value among points begin..end, in order. False if none can be
 * drawn. */
static bool extremes(const SvgSeries *s, size_t begin, size_t end, const Frame *frame, size_t at[2]) {
    size_t least = end, most = end;
    for (size_t i = begin; i < end; i++) {
        if (!has_point(s, i, frame)) continue;
        if (least == end || s->y[i] < s->y[least]) least = i;
        if (most == end || s->y[i] > s->y[most]) most = i;
    }
    at[0] = MIN(least, most), at[1] = MAX(least, most);
    return least < end;
}

static void put_line(Text *out, const SvgSeries *s, const Frame *frame) {
    size_t bucket = s->n <= MAX_POINTS ? 1 : (2 * s->n + MAX_POINTS - 1) / MAX_POINTS, at[2];
    bool pen_down = false;
    for (size_t begin = 0; begin < s->n; begin += bucket) {
        bool any = extremes(s, begin, MIN(s->n, begin + bucket), frame, at);
        for (int k = 0; any && k < (at[0] == at[1] ? 1 : 2); k++) {
            Point p = {scaled(&frame->x, x_of(s, at[k])), scaled(&frame->y, s->y[at[k]])};
            if (!pen_down) put_point(out, 'M', p); /* and a line to itself: a lone point is a dot */
            put_point(out, 'L', p);
            pen_down = true;
        }
        pen_down = any;
    }
}

static void put_dots(Text *out, const SvgSeries *s, const Frame *frame, const char *colour) {
    for (size_t i = 0; s->n <= MAX_DOTS && i < s->n; i++) {
        if (!has_point(s, i, frame)) continue;
        text_printf(out, "<circle r=\"2.6\" fill=\"%s\"", colour);
        put_attribute(out, "cx", scaled(&frame->x, x_of(s, i)));
        put_attribute(out, "cy", scaled(&frame->y, s->y[i]));
        text_printf(out, "/>\n");
    }
}

static void put_lines(Text *out, const SvgPanel *panel, const Frame *frame) {
    for (size_t i = 0; i < panel->nseries; i++) {
        const SvgSeries *series = &panel->series[i];
        open_line(out, series, i, "");
        put_line(out, series, frame);
        text_printf(out, "\"/>\n");
        if (!series->reference) put_dots(out, series, frame, palette[i % COUNT(palette)]);
    }
}

/* Title and legend of a panel from `top` on; where its plot begins. */
static double put_panel_head(Text *out, const SvgPanel *panel, double top) {
    put_label(out, "panel", LEFT, top + 14, panel->title);
    Point pen = {LEFT, top + (panel->title ? 26 : 0)};
    bool any = false;
    for (size_t i = 0; i < panel->nseries; i++) {
        if (!panel->series[i].name) continue;
        legend_entry(out, &panel->series[i], i, &pen);
        any = true;
    }
    return pen.y + (any ? LEGEND_ROW : 0) + 6;
}

/* The axes of a panel, settled on its values; false when it has none. */
static bool settle_frame(const SvgPanel *panel, Frame *frame) {
    frame->x.whole = true;
    frame->x.binary = panel->log_x;
    for (size_t i = 0; i < panel->nseries; i++) {
        const SvgSeries *s = &panel->series[i];
        frame->x.whole &= !s->x;
        for (size_t k = 0; k < s->n; k++) {
            if (!has_point(s, k, frame)) continue;
            widen(&frame->x, x_of(s, k));
            widen(&frame->y, s->y[k]);
        }
    }
    bool any = settle(&frame->x, 9, false);
    settle(&frame->y, 5, true);
    return any;
}

/* Draws a panel from `top` on; where the next one begins. */
static double put_panel(Text *out, const SvgPanel *panel, double top) {
    top = put_panel_head(out, panel, top);
    double bottom = top + (panel->height ? panel->height : PLOT_HEIGHT);
    Frame frame = {new_scale(LEFT, WIDTH - RIGHT, panel->log_x), new_scale(bottom, top, panel->log_y)};
    bool any = settle_frame(panel, &frame);
    put_x_axis(out, &frame.x, top, bottom);
    put_y_axis(out, &frame.y, panel->y_label);
    put_rule(out, "axis", (Point){LEFT, bottom}, (Point){WIDTH - RIGHT, bottom});
    put_lines(out, panel, &frame);
    if (!any) put_label(out, "mid", (LEFT + WIDTH - RIGHT) / 2.0, (top + bottom) / 2, "no data");
    put_label(out, "mid", (LEFT + WIDTH - RIGHT) / 2.0, bottom + 34, panel->x_label);
    return bottom + (panel->x_label ? 34 : 16) + 22;
}

FraxStatus svg_lines(const SvgChart *chart, Text *out) {
    Text body = {0};
    double y = begin_body(&body, chart->title, chart->subtitle);
    for (size_t i = 0; i < chart->npanels; i++) y = put_panel(&body, &chart->panels[i], y);
    return finish_chart(out, &body, chart->title, y);
}

/* ---- Bars ---- */

static Scale bar_scale(const SvgBars *bars) {
    double left = 60;
    for (size_t g = 0; g < bars->ngroups; g++) left = fmax(left, text_width(bars->groups[g]) + 30);
    Scale s =
        new_scale(fmin(left, WIDTH / 2), WIDTH - RIGHT - 50, false); /* 50: the value at the bar's end */
    widen(&s, 0);
    for (size_t i = 0; i < bars->ngroups * bars->nseries; i++) widen(&s, bars->values[i]);
    if (s.lo == s.hi) s.hi = 1;
    settle(&s, 7, true);
    return s;
}

/* A bar and its value, to three digits, right of it (of the zero line, for a negative one). */
static void put_value_bar(Text *out, const Scale *s, double v, double y, const char *colour) {
    if (!drawable(v, false)) return;
    double zero = scaled(s, 0), end = scaled(s, v);
    put_bar(out, (Point){zero, y}, (Point){end, y + BAR - 2}, colour);
    open_text(out, NULL, fmax(zero, end) + 5, y + BAR - 4);
    put_value(out, v, v != 0 ? pow(10, floor(log10(fabs(v))) - 2) : 1, fabs(v) > 0 ? fabs(v) : 1);
    text_printf(out, "</text>\n");
}

FraxStatus svg_bars(const SvgBars *bars, Text *out) {
    Text body = {0};
    Scale s = bar_scale(bars);
    Point pen = {LEFT, begin_body(&body, bars->title, NULL)};
    for (size_t i = 0; i < bars->nseries; i++)
        legend_entry(&body, &(SvgSeries){.name = bars->series[i]}, i, &pen);
    double top = pen.y + LEGEND_ROW + 6, group = BAR * (double)bars->nseries + BAR_GAP;
    double bottom = top + group * (double)bars->ngroups;
    put_x_axis(&body, &s, top, bottom);
    for (size_t g = 0; g < bars->ngroups; g++) {
        double y = top + group * (double)g + BAR_GAP / 2.0;
        put_label(&body, "end", s.from - 10, y + BAR * (double)bars->nseries / 2 + 3, bars->groups[g]);
        for (size_t i = 0; i < bars->nseries; i++)
            put_value_bar(&body, &s, bars->values[g * bars->nseries + i], y + BAR * (double)i,
                          palette[i % COUNT(palette)]);
    }
    put_rule(&body, "axis", (Point){scaled(&s, 0), top}, (Point){scaled(&s, 0), bottom});
    put_label(&body, "mid", (s.from + s.to) / 2, bottom + 36, bars->label);
    return finish_chart(out, &body, bars->title, bottom + (bars->label ? 36 : 16) + 18);
}
