//! The format of log lines: one JSON object per line. With a metrics namespace, the line of a request or an operation
//! also has metrics in CloudWatch's embedded metric format (the member `_aws`).

use std::fmt;
use std::time::SystemTime;

use serde_json::{Map, Number, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The members that are metrics, with their units.
pub const METRICS: [(&str, &str); 4] =
    [("durationMs", "Milliseconds"), ("roundTrips", "Count"), ("readUnits", "Count"), ("writeUnits", "Count")];

/// The members that are dimensions of metrics: the route of a request, the operation of an event. The tenant is not a
/// dimension, because every value would be a separate metric with its own cost.
pub const DIMENSIONS: [&str; 2] = ["route", "operation"];

/// The formatter of log lines.
pub struct JsonFormat {
    namespace: Option<String>,
}

impl JsonFormat {
    /// A formatter with metrics in `namespace` (1 to 256 characters), or without metrics.
    pub fn new(namespace: Option<String>) -> Self {
        Self { namespace: namespace.filter(|namespace| !namespace.is_empty()) }
    }

    /// The member `_aws` of a line that has a metric and a dimension.
    fn metrics(&self, line: &Map<String, Value>, now: OffsetDateTime) -> Option<Value> {
        let namespace = self.namespace.as_ref()?;
        let dimensions: Vec<_> = DIMENSIONS.into_iter().filter(|name| line.contains_key(*name)).collect();
        let metrics = METRICS.into_iter().filter(|(name, _)| line.contains_key(*name));
        let metrics: Vec<_> = metrics.map(|(name, unit)| json!({ "Name": name, "Unit": unit })).collect();
        (!dimensions.is_empty() && !metrics.is_empty()).then(|| {
            let directive = json!({ "Namespace": namespace, "Dimensions": [dimensions], "Metrics": metrics });
            json!({ "Timestamp": now.unix_timestamp_nanos() / 1_000_000, "CloudWatchMetrics": [directive] })
        })
    }
}

impl<S, N> FormatEvent<S, N> for JsonFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = OffsetDateTime::from(SystemTime::now());
        let mut line = JsonVisitor(Map::new());
        event.record(&mut line);
        let JsonVisitor(mut line) = line;
        if let Some(metrics) = self.metrics(&line, now) {
            line.insert("_aws".to_owned(), metrics);
        }
        line.insert("timestamp".to_owned(), json!(now.format(&Rfc3339).map_err(|_| fmt::Error)?));
        line.insert("level".to_owned(), json!(event.metadata().level().as_str()));
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// A visitor that collects the fields of an event.
struct JsonVisitor(Map<String, Value>);

impl JsonVisitor {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for JsonVisitor {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Number::from_f64(value).map_or(Value::Null, Value::Number));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// The lines that `run` logs.
    fn lines(namespace: Option<&str>, run: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let lines = JsonFormat::new(namespace.map(str::to_owned));
        let subscriber = tracing_subscriber::fmt().event_format(lines).with_writer(written.clone()).finish();
        tracing::subscriber::with_default(subscriber, run);
        let text = String::from_utf8(written.0.lock().expect("not poisoned").clone()).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn log_request() {
        let tenant: Option<&str> = None;
        tracing::info!(
            route = "GET /",
            status = 401_u16,
            tenant,
            durationMs = 1.5,
            readUnits = 2_u32,
            "request completed"
        );
    }

    #[test]
    fn line_is_one_flat_object() {
        let all = lines(None, || {
            log_request();
            tracing::warn!(members = ?["a\n\"b\""], odd = f64::NAN, good = true, less = -1, "bad event");
        });
        let [first, second] = &all[..] else { panic!("{all:?}") };
        for line in [first, second] {
            OffsetDateTime::parse(line["timestamp"].as_str().expect("a time"), &Rfc3339).expect("RFC 3339");
        }
        let timeless = |line: &Value| {
            let mut line = line.as_object().expect("an object").clone();
            line.remove("timestamp");
            Value::Object(line)
        };
        let expected = json!({ "level": "INFO", "message": "request completed", "route": "GET /", "status": 401,
            "durationMs": 1.5, "readUnits": 2 });
        assert_eq!(timeless(first), expected);
        let expected = json!({ "level": "WARN", "message": "bad event", "members": "[\"a\\n\\\"b\\\"\"]",
            "odd": null, "good": true, "less": -1 });
        assert_eq!(timeless(second), expected);
    }

    /// The specification: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
    #[test]
    fn lines_of_requests_and_operations_have_metrics() {
        let all = lines(Some("stack"), || {
            log_request();
            tracing::info!(operation = "index", writeUnits = 12.5, "index updated");
            tracing::warn!(route = "GET /", "no metric");
            tracing::warn!(readUnits = 1, "no dimension");
        });
        let directive = |line: &Value| line["_aws"]["CloudWatchMetrics"].clone();
        assert_eq!(
            directive(&all[0]),
            json!([{ "Namespace": "stack", "Dimensions": [["route"]], "Metrics": [
                { "Name": "durationMs", "Unit": "Milliseconds" }, { "Name": "readUnits", "Unit": "Count" }] }])
        );
        assert!(all[0]["_aws"]["Timestamp"].as_u64().is_some_and(|at| at > 1_700_000_000_000));
        assert_eq!(
            directive(&all[1]),
            json!([{ "Namespace": "stack", "Dimensions": [["operation"]], "Metrics": [
                { "Name": "writeUnits", "Unit": "Count" }] }])
        );
        assert!(all[2..].iter().all(|line| line.get("_aws").is_none()), "{all:?}");
    }

    #[test]
    fn without_a_namespace_there_are_no_metrics() {
        for namespace in [None, Some("")] {
            assert!(lines(namespace, log_request).iter().all(|line| line.get("_aws").is_none()));
        }
    }
}
