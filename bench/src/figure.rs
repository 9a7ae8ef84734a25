//! A figure of panels side by side, both axes logarithmic, one legend; as SVG.

use std::fmt::Write;

/// What is drawn over the size of a tenant.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 56.0;
/// Between two panels: the numbers of both axes stand there.
const GAP: f64 = 84.0;
const LEGEND: f64 = 20.0;
/// Okabe and Ito's, which the colour-blind tell apart too, and a red.
const COLOURS: [&str; 8] = ["#0072b2", "#56b4e9", "#009e73", "#e69f00", "#cc79a7", "#d55e00", "#8c8c8c", "#e31a1c"];

/// The panels, each a title and its lines; all have the same lines.
pub(crate) fn figure(panels: &[(&str, Vec<Line>)]) -> String {
    let width = panels.len() as f64 * (WIDTH + GAP) + MARGIN / 2.0;
    let height = HEIGHT + 2.0 * MARGIN + LEGEND;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (i, (title, lines)) in panels.iter().enumerate() {
        panel(&mut svg, MARGIN + i as f64 * (WIDTH + GAP), title, lines);
    }
    let names = panels.first().map(|(_, lines)| &lines[..]).unwrap_or_default();
    for (i, line) in names.iter().enumerate() {
        let (x, y) = (MARGIN + (i % 4) as f64 * (width - MARGIN) / 4.0, HEIGHT + 1.7 * MARGIN + (i / 4) as f64 * 22.0);
        let colour = COLOURS[i % COLOURS.len()];
        put(
            &mut svg,
            &format!(
                "<line x1=\"{x}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"3\"/>",
                x + 22.0
            ),
        );
        text(&mut svg, x + 28.0, y + 4.0, "start", &line.name);
    }
    svg + "</svg>\n"
}

fn panel(svg: &mut String, left: f64, title: &str, lines: &[Line]) {
    let all = || lines.iter().flat_map(|line| &line.points);
    let (from_x, to_x) = decades(all().map(|point| point.0));
    let (from_y, to_y) = decades(all().map(|point| point.1));
    let x = |value: f64| left + WIDTH * (value.log10() - from_x) / (to_x - from_x);
    let y = |value: f64| MARGIN + HEIGHT * (to_y - value.max(1e-9).log10()) / (to_y - from_y);
    text(svg, left, MARGIN - 16.0, "start", title);
    for power in from_y as i32..=to_y as i32 {
        let at = y(10f64.powi(power));
        put(
            svg,
            &format!("<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>", left + WIDTH),
        );
        text(svg, left - 6.0, at + 4.0, "end", &tick(power));
    }
    for power in from_x as i32..=to_x as i32 {
        let at = x(10f64.powi(power));
        put(
            svg,
            &format!(
                "<line x1=\"{at:.1}\" y1=\"{MARGIN}\" x2=\"{at:.1}\" y2=\"{}\" stroke=\"#eee\"/>",
                MARGIN + HEIGHT
            ),
        );
        text(svg, at, MARGIN + HEIGHT + 16.0, "middle", &tick(power));
    }
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<_> = line.points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
        put(
            svg,
            &format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                points.join(" ")
            ),
        );
        for point in &line.points {
            put(svg, &format!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x(point.0), y(point.1)));
        }
    }
}

/// The powers of ten around some values; at least one apart.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) = values.filter(|value| *value > 0.0).fold((f64::MAX, 0.0), |(a, b), v| (v.min(a), v.max(b)));
    let from = least.log10().floor();
    (from, most.log10().ceil().max(from + 1.0))
}

/// `1,000` and `0.1`, and words for what is larger.
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
    fn an_axis_spans_whole_powers_of_ten() {
        assert_eq!(decades([3.0, 250.0].into_iter()), (0.0, 3.0));
        assert_eq!(decades([1.0, 1.0].into_iter()), (0.0, 1.0));
    }
}
