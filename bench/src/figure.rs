//! An SVG figure: panels in a grid with the same logarithmic axes, and one legend.

use std::fmt::Write;

/// A line over the size of a tenant or the memory of a function.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// The width of the figure, and of the axis labels to the left of the first column.
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 72.0;
/// The gap between two columns.
const GAP: f64 = 20.0;
/// The heights of a panel's title and of its axis labels.
const TITLE: f64 = 30.0;
const NUMBERS: f64 = 22.0;
/// The height of a row of the legend, and the most names in it.
const LEGEND: f64 = 22.0;
const NAMES: usize = 5;
/// Okabe and Ito's colour-blind safe palette, and a red.
const COLOURS: [&str; 8] = ["#0072b2", "#56b4e9", "#009e73", "#e69f00", "#cc79a7", "#d55e00", "#8c8c8c", "#e31a1c"];

/// The position and size of a panel, and the powers of ten at the ends of its axes.
struct Panel {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    x: (f64, f64),
    y: (f64, f64),
}

/// The figure of panels, each a title and its lines, in `columns` columns. All panels have lines of the same names.
pub(crate) fn figure(columns: usize, panels: &[(&str, Vec<Line>)]) -> String {
    let points = || panels.iter().flat_map(|(_, lines)| lines).flat_map(Line::positive_points);
    let axes = (decades(points().map(|point| point.0)), decades(points().map(|point| point.1)));
    let names = panels.first().map(|(_, lines)| &lines[..]).unwrap_or_default();
    let width = (WIDTH - LEFT) / columns as f64 - GAP;
    let height = 0.75 * width;
    let above = names.len().div_ceil(NAMES) as f64 * LEGEND;
    let row = TITLE + height + NUMBERS;
    let whole = above + panels.len().div_ceil(columns) as f64 * row + GAP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {whole:.0}\" font-family=\"sans-serif\" \
         font-size=\"10\">\n<rect width=\"{WIDTH}\" height=\"{whole:.0}\" fill=\"white\"/>\n"
    );
    for (i, (line, colour)) in names.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let x = LEFT + (i % NAMES) as f64 * (WIDTH - LEFT) / NAMES as f64;
        let y = 0.7 * LEGEND + (i / NAMES) as f64 * LEGEND;
        put(&mut svg, &format!("<path d=\"M{x:.1},{y:.1}h22\" stroke=\"{colour}\" stroke-width=\"3\"/>"));
        text(&mut svg, x + 28.0, y + 4.0, "start", &line.name);
    }
    for (i, (title, lines)) in panels.iter().enumerate() {
        let left = LEFT + (i % columns) as f64 * (width + GAP);
        let top = above + TITLE + (i / columns) as f64 * row;
        let panel = Panel { left, top, width, height, x: axes.0, y: axes.1 };
        panel.draw(&mut svg, title, lines, i % columns == 0);
    }
    svg + "</svg>\n"
}

impl Line {
    /// The points with a positive value; a logarithmic axis has no others.
    fn positive_points(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.points.iter().filter(|point| point.1 > 0.0)
    }
}

impl Panel {
    fn draw(&self, svg: &mut String, title: &str, lines: &[Line], numbered: bool) {
        let Self { left, top, width, height, x, y } = *self;
        text(svg, left, top - 8.0, "start", title);
        for power in y.0 as i32..=y.1 as i32 {
            let at = self.at((1.0, 10f64.powi(power))).1;
            put(svg, &format!("<path d=\"M{left:.1},{at:.1}h{width:.1}\" stroke=\"#ddd\"/>"));
            if numbered {
                text(svg, left - 6.0, at + 4.0, "end", &tick(power));
            }
        }
        for power in x.0 as i32..=x.1 as i32 {
            let at = self.at((10f64.powi(power), 1.0)).0;
            put(svg, &format!("<path d=\"M{at:.1},{top:.1}v{height:.1}\" stroke=\"#eee\"/>"));
            // Labels at the ends stay within the panel, so that they do not overlap the next panel's.
            let anchor = match f64::from(power) {
                first if first == x.0 => "start",
                last if last == x.1 => "end",
                _ => "middle",
            };
            text(svg, at, top + height + 15.0, anchor, &tick(power));
        }
        for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            let points: Vec<_> = line.positive_points().map(|point| self.at(*point)).collect();
            let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let style = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"");
            put(svg, &format!("<polyline points=\"{}\" {style}/>", path.join(" ")));
            for (x, y) in points {
                put(svg, &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>"));
            }
        }
    }

    /// The coordinates of a point.
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let along = |value: f64, (from, to): (f64, f64)| (value.log10() - from) / (to - from);
        (self.left + self.width * along(x, self.x), self.top + self.height * (1.0 - along(y, self.y)))
    }
}

/// The powers of ten below and above all values, at least one apart.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) = values.filter(|value| *value > 0.0).fold((f64::MAX, 0.0), |(a, b), v| (v.min(a), v.max(b)));
    let from = least.log10().floor();
    (from, most.log10().ceil().max(from + 1.0))
}

/// The label of a power of ten: `0.1`, `1,000`, `1 million`.
fn tick(power: i32) -> String {
    match power {
        ..0 => format!("{}", 10f64.powi(power)),
        0..3 => format!("{}", 10u32.pow(power as u32)),
        3..6 => format!("{},000", 10u32.pow(power as u32 - 3)),
        _ => format!("{} million", 10u64.pow(power as u32 - 6)),
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    put(svg, &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#333\">{text}</text>"));
}

fn put(svg: &mut String, element: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(svg, "{element}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_spans_whole_powers_of_ten() {
        assert_eq!(decades([3.0, 250.0].into_iter()), (0.0, 3.0));
        assert_eq!(decades([1.0, 1.0].into_iter()), (0.0, 1.0));
    }

    #[test]
    fn positive_points_are_drawn_by_their_powers_of_ten() {
        let line =
            Line { name: "units".to_owned(), points: vec![(1_000.0, 0.0), (10_000.0, 10.0), (100_000.0, 100.0)] };
        let svg = figure(2, &[("one", vec![line.clone()]), ("two", vec![line])]);
        // The first panel is 444 wide, from 72, and 333 high, from 52: its corners are the only two points.
        assert!(svg.contains("<polyline points=\"72.0,385.0 516.0,52.0\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 4, "{svg}");
    }
}
