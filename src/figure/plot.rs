//! The Plotly figure: the running sum over time, with one line for all topics and one for each topic.
//!
//! The static figure of a saved notebook and the live page use the same traces and layout. For the live
//! page, they are a template without points.

use super::Shown;
use super::update::TOPIC_LENGTH;
use crate::notebook::{escape, shorten, thousands};
use crate::sentiment::Scored;
use crate::trajectory::{Point, USER_LENGTH};
use plotly::common::{Anchor, Font, HoverInfo, Line, Marker, Mode, Orientation, Title};
use plotly::layout::{Axis, AxisType, HoverMode, Legend, Margin};
use plotly::{Layout, Plot, Scatter};

/// The palette of Okabe and Ito, which colour-blind people can distinguish. The first colour is for
/// the line of all topics.
const COLOURS: [&str; 7] = [
    "#888888", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2",
];

/// The number of characters of a tweet's text that are shown beside the pointer.
const HOVER_LENGTH: usize = 48;

/// Returns the figure of some listeners. If there are several, the name of a line begins with the name of
/// its listener.
pub(super) fn plot(shown: &[Shown]) -> Plot {
    let mut plot = Plot::new();
    for Shown { name, subscription } in shown {
        let prefix = (shown.len() > 1).then(|| format!("{name}: "));
        let prefix = prefix.unwrap_or_default();
        subscription.read(|progress| {
            for (index, line) in progress.trajectory.lines.iter().enumerate() {
                let name = format!("{prefix}{}", shorten(&line.name, TOPIC_LENGTH));
                plot.add_trace(trace(index, &name, &progress.trajectory.points(index, 0)));
            }
        });
    }
    plot.set_layout(layout());
    plot
}

/// Returns the text beside the pointer, as HTML. Plotly interprets a few HTML tags in it, so the text
/// of the tweet is escaped.
fn hover(scored: &Scored) -> String {
    let tweet = &scored.tweet;
    let followers = match tweet.followers {
        Some(1) => "1 follower".to_owned(),
        Some(count) => format!("{} followers", thousands(count)),
        None => "unknown followers".to_owned(),
    };
    format!(
        "<b>{}</b>, {followers}, {:+.2}<br>{}",
        escape(&shorten(&tweet.user, USER_LENGTH)),
        scored.sentiment.compound,
        escape(&shorten(&tweet.text, HOVER_LENGTH))
    )
}

fn trace(index: usize, name: &str, points: &[&Point]) -> Box<Scatter<i64, f64>> {
    let width = if index == 0 { 3.0 } else { 2.0 };
    let colour = COLOURS[index % COLOURS.len()];
    let x = points.iter().map(|point| point.at()).collect();
    let y = points.iter().map(|point| point.sum).collect();
    let hover = points.iter().map(|point| hover(&point.scored)).collect();
    Scatter::new(x, y)
        .name(escape(name))
        .mode(Mode::LinesMarkers)
        .line(Line::new().color(colour).width(width))
        .marker(Marker::new().color(colour).size(6))
        .hover_text_array(hover)
        .hover_info(HoverInfo::Text)
}

fn layout() -> Layout {
    const GRID: &str = "rgba(128,128,128,0.25)";
    let axis = || Axis::new().grid_color(GRID).zero_line(false);
    Layout::new()
        .font(Font::new().size(15))
        .paper_background_color("rgba(0,0,0,0)")
        .plot_background_color("rgba(0,0,0,0)")
        .hover_mode(HoverMode::Closest)
        .legend(
            Legend::new()
                .orientation(Orientation::Horizontal)
                .y_anchor(Anchor::Bottom)
                .y(1.01),
        )
        .margin(Margin::new().left(60).right(40).top(40).bottom(60))
        .x_axis(
            axis()
                .type_(AxisType::Date)
                .title(Title::with_text("time (UTC)")),
        )
        .y_axis(
            axis()
                .title(Title::with_text("running sentiment"))
                .zero_line(true)
                .zero_line_color("rgba(128,128,128,0.9)")
                .zero_line_width(2),
        )
}

/// Returns the template of the live page: an empty trace for each colour, and the layout.
pub(super) fn template() -> String {
    let mut plot = Plot::new();
    for index in 0..COLOURS.len() {
        plot.add_trace(trace(index, "", &[]));
    }
    plot.set_layout(layout());
    plot.to_json()
}
