/* svg.h — charts for the command line: line charts in one or more panels, and grouped bars. */
#ifndef FRAX_SVG_H
#define FRAX_SVG_H

#include "base.h"

/* One line. Points that are not finite (on a logarithmic axis: not positive) leave a gap. */
typedef struct SvgSeries {
    const char *name; /* for the legend; NULL: not listed */
    size_t n;
    const double *x; /* n values in the order drawn; NULL: 0, 1, 2 …, counts with whole tick marks */
    const double *y; /* n values */
    bool reference;  /* a limit to compare the others with: drawn in grey, dashed, without dots */
} SvgSeries;

typedef struct SvgPanel {
    const char *title, *x_label, *y_label; /* labels with their unit; NULL: none */
    const SvgSeries *series;
    size_t nseries;
    bool log_y;
    bool log_x; /* with ticks at powers of two */
    int height; /* of the plot in pixels; 0: the usual */
} SvgPanel;

typedef struct SvgChart {
    const char *title; /* NULL: none */
    const SvgPanel *panels;
    size_t npanels;
    const char *subtitle; /* NULL: none */
} SvgChart;

/* Groups of horizontal bars, one bar a series; horizontal, so that a label of any length has room. */
typedef struct SvgBars {
    const char *title, *label; /* label: what the values are, with their unit; NULL: none */
    const char *const *groups;
    size_t ngroups;
    const char *const *series; /* names for the legend */
    size_t nseries;
    const double *values; /* [ngroups, nseries]; a value that is not finite has no bar */
} SvgBars;

/* Append a complete SVG document to *out: the same bytes for the same chart on any machine and in any locale.
   Texts may hold anything; what XML does not allow becomes U+FFFD. Error: FRAX_MEMORY. */
FraxStatus svg_lines(const SvgChart *chart, Text *out);
FraxStatus svg_bars(const SvgBars *bars, Text *out);

#endif
