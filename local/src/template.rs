//! template.yaml, which deploys the API and from which `local` takes its functions, routes, table and event sources.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, StreamSpecification, StreamViewType,
};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

const TEMPLATE: &str = include_str!("../../template.yaml");

/// A part of the template that is missing or not supported.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

impl TemplateError {
    pub(crate) fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The parts of the template that `local` uses.
pub struct Template {
    /// The functions.
    pub functions: Vec<Function>,
    /// The endpoints.
    pub routes: Vec<Route>,
    /// The table.
    pub table: TableSpec,
    /// The event source mapping of the table's stream.
    pub stream: StreamSource,
    /// The event source mapping of the queue of ticket events.
    pub queue: QueueSource,
    /// The CORS settings of the gateway.
    pub cors: CorsSpec,
    document: Value,
}

/// A Lambda function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// The name of its binary, which identifies the function everywhere in `local`.
    pub name: String,
    /// The time-out of an invocation.
    pub time_out: Duration,
    /// The memory in MB.
    pub memory: u64,
    /// The names of its environment variables.
    pub variables: Vec<String>,
}

/// A route of the gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The method: GET, POST, PUT or DELETE.
    pub method: String,
    /// The path, with parameters as `{id}`.
    pub path: String,
    /// The name of the function's binary.
    pub function: String,
}

/// The table's definition.
pub struct TableSpec(Value);

/// An event source mapping of the stream.
#[derive(Clone)]
pub struct StreamSource {
    /// The name of the function's binary.
    pub function: String,
    /// The maximum number of records in a batch.
    pub batch_size: usize,
    /// The event patterns of which a record must match at least one; no patterns match every record.
    pub filters: Vec<Value>,
    /// The age at which a failing record becomes a dead letter.
    pub max_age: Duration,
    /// The maximum number of batches in flight per shard.
    pub parallelization: usize,
}

/// An event source mapping of a queue.
#[derive(Clone)]
pub struct QueueSource {
    /// The name of the function's binary.
    pub function: String,
    /// The maximum number of messages in a batch.
    pub batch_size: usize,
    /// The number of deliveries after which a message becomes a dead letter.
    pub max_receive_count: u64,
}

/// The gateway's CORS settings, except for the origins, which are a parameter of the stack.
#[derive(Clone)]
pub struct CorsSpec {
    /// Access-Control-Allow-Methods.
    pub allow_methods: String,
    /// Access-Control-Allow-Headers.
    pub allow_headers: String,
    /// Access-Control-Expose-Headers.
    pub expose_headers: String,
    /// Access-Control-Max-Age, in seconds.
    pub max_age: u64,
}

impl Template {
    /// Parses the template, which is compiled into this program.
    pub fn load() -> Result<Self, TemplateError> {
        let yaml = Yaml::load_from_str(TEMPLATE).map_err(|error| TemplateError(error.to_string()))?;
        let document = yaml.first().map(to_json).unwrap_or_default();
        let reader = Reader(&document);
        let table = reader.get("/Resources/Table/Properties")?.clone();
        let stream = reader.event_source("DynamoDB")?;
        let queue = reader.event_source("SQS")?;
        let cors = "/Resources/Api/Properties/DefinitionBody/x-amazon-apigateway-cors/If/1";
        Ok(Self {
            functions: reader.functions()?.into_iter().map(|(function, _)| function).collect(),
            routes: reader.routes()?,
            table: TableSpec(table),
            stream: StreamSource {
                filters: filters(stream.properties)?,
                batch_size: stream.number("/BatchSize")? as usize,
                max_age: Duration::from_secs(stream.number("/MaximumRecordAgeInSeconds")?),
                parallelization: stream.number("/ParallelizationFactor")? as usize,
                function: stream.function,
            },
            queue: QueueSource {
                batch_size: queue.number("/BatchSize")? as usize,
                max_receive_count: reader.number("/Resources/TicketEvents/Properties/RedrivePolicy/maxReceiveCount")?,
                function: queue.function,
            },
            cors: CorsSpec {
                allow_methods: reader.list(&format!("{cors}/allowMethods"))?,
                allow_headers: reader.list(&format!("{cors}/allowHeaders"))?,
                expose_headers: reader.list(&format!("{cors}/exposeHeaders"))?,
                max_age: reader.number(&format!("{cors}/maxAge"))?,
            },
            document,
        })
    }

    /// The whole template as JSON, with `!Ref x` as `{"Ref": "x"}`.
    pub fn document(&self) -> &Value {
        &self.document
    }
}

/// An event source of a function, for reading its properties.
struct EventSource<'a> {
    reader: Reader<'a>,
    properties: &'a Value,
    function: String,
}

impl EventSource<'_> {
    fn number(&self, pointer: &str) -> Result<u64, TemplateError> {
        self.reader.number_of(self.properties.pointer(pointer), pointer)
    }
}

#[derive(Clone, Copy)]
struct Reader<'a>(&'a Value);

impl<'a> Reader<'a> {
    fn get(self, pointer: &str) -> Result<&'a Value, TemplateError> {
        self.0.pointer(pointer).ok_or_else(|| TemplateError(format!("{pointer} is missing")))
    }

    /// Reads a number, or the default of the parameter that a `Ref` names.
    fn number(self, pointer: &str) -> Result<u64, TemplateError> {
        self.number_of(self.0.pointer(pointer), pointer)
    }

    fn number_of(self, value: Option<&'a Value>, place: &str) -> Result<u64, TemplateError> {
        let parameter = |name: &str| self.0.pointer(&format!("/Parameters/{name}/Default"));
        let value = match value.and_then(|value| value.get("Ref")).and_then(Value::as_str) {
            Some(name) => parameter(name),
            None => value,
        };
        value.and_then(Value::as_u64).ok_or_else(|| TemplateError(format!("{place} is not a number")))
    }

    fn list(self, pointer: &str) -> Result<String, TemplateError> {
        let items: Vec<_> = self.get(pointer)?.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        Ok(items.join(","))
    }

    /// Returns every function with its events.
    fn functions(self) -> Result<Vec<(Function, Vec<&'a Value>)>, TemplateError> {
        let resources = self.get("/Resources")?.as_object().into_iter().flatten();
        let functions = resources.filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function");
        functions.map(|(name, resource)| self.function(name, resource)).collect()
    }

    fn function(self, name: &str, resource: &'a Value) -> Result<(Function, Vec<&'a Value>), TemplateError> {
        let globals = self.get("/Globals/Function")?;
        let number = |property: &str| {
            let own = resource["Properties"].get(property);
            self.number_of(own.or(globals.get(property)), &format!("{name}'s {property}"))
        };
        let binary = resource.pointer("/Metadata/BuildProperties/Binary").and_then(Value::as_str);
        let function = Function {
            name: binary
                .ok_or_else(|| TemplateError(format!("{name} has no Metadata.BuildProperties.Binary")))?
                .to_owned(),
            time_out: Duration::from_secs(number("Timeout")?),
            memory: number("MemorySize")?,
            variables: variables(globals, &resource["Properties"]),
        };
        let events: Vec<_> =
            resource.pointer("/Properties/Events").and_then(Value::as_object).into_iter().flatten().collect();
        for (_, event) in &events {
            let kind = event["Type"].as_str().unwrap_or_default();
            if !["HttpApi", "DynamoDB", "SQS"].contains(&kind) {
                return Err(TemplateError(format!("{name} has an event of type {kind}, which local does not support")));
            }
        }
        Ok((function, events.into_iter().map(|(_, event)| event).collect()))
    }

    /// Returns the events of a type, each with the name of its function.
    fn events(self, kind: &str) -> Result<Vec<(&'a Value, String)>, TemplateError> {
        let events = self
            .functions()?
            .into_iter()
            .flat_map(|(function, events)| events.into_iter().map(move |event| (event, function.name.clone())));
        Ok(events.filter(|(event, _)| event["Type"] == kind).collect())
    }

    fn routes(self) -> Result<Vec<Route>, TemplateError> {
        let route = |(event, function): (&Value, String)| {
            let text = |name: &str| event["Properties"][name].as_str().map(str::to_owned);
            let route = text("Method").zip(text("Path"));
            let (method, path) = route
                .ok_or_else(|| TemplateError(format!("{function} has an HttpApi event without Method or Path")))?;
            Ok(Route { method, path, function })
        };
        self.events("HttpApi")?.into_iter().map(route).collect()
    }

    fn event_source(self, kind: &str) -> Result<EventSource<'a>, TemplateError> {
        let (event, function) = self
            .events(kind)?
            .pop()
            .ok_or_else(|| TemplateError(format!("no function has an event of type {kind}")))?;
        Ok(EventSource { reader: self, properties: &event["Properties"], function })
    }
}

/// Returns the names of a function's environment variables: the global ones and its own, without those that it sets to
/// `AWS::NoValue`.
fn variables(globals: &Value, own: &Value) -> Vec<String> {
    let of = |properties: &Value| properties.pointer("/Environment/Variables").and_then(Value::as_object).cloned();
    let mut variables = of(globals).unwrap_or_default();
    variables.extend(of(own).unwrap_or_default());
    variables.retain(|_, value| value["Ref"] != "AWS::NoValue");
    variables.into_iter().map(|(name, _)| name).collect()
}

fn to_json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Value(Scalar::Boolean(value)) => Value::from(*value),
        Yaml::Value(Scalar::Integer(value)) => Value::from(*value),
        Yaml::Value(Scalar::FloatingPoint(value)) => Value::from(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => Value::from(value.as_ref()),
        Yaml::Sequence(items) => items.iter().map(to_json).collect(),
        Yaml::Mapping(members) => {
            let member = |(name, value): (&Yaml, &Yaml)| Some((name.as_str()?.to_owned(), to_json(value)));
            Value::Object(members.iter().filter_map(member).collect())
        }
        // CloudFormation's short form of intrinsic functions, for example `!Ref x`.
        Yaml::Tagged(tag, value) => Value::Object(Map::from_iter([(tag.suffix.to_string(), to_json(value))])),
        _ => Value::Null,
    }
}

impl TableSpec {
    /// Completes a CreateTable request, which has the table's name, with the table's definition.
    pub fn create(
        &self,
        request: aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder,
    ) -> Result<aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder, TemplateError> {
        let mut request = request.billing_mode(BillingMode::PayPerRequest).set_key_schema(Some(schema(&self.0)?));
        for attribute in list(&self.0, "AttributeDefinitions") {
            let definition = AttributeDefinition::builder()
                .attribute_name(text(attribute, "AttributeName")?)
                .attribute_type(ScalarAttributeType::from(text(attribute, "AttributeType")?))
                .build();
            request = request.attribute_definitions(definition.map_err(TemplateError::new)?);
        }
        for index in list(&self.0, "GlobalSecondaryIndexes") {
            let kind = ProjectionType::from(text(&index["Projection"], "ProjectionType")?);
            let definition = GlobalSecondaryIndex::builder()
                .index_name(text(index, "IndexName")?)
                .set_key_schema(Some(schema(index)?))
                .projection(Projection::builder().projection_type(kind).build())
                .build();
            request = request.global_secondary_indexes(definition.map_err(TemplateError::new)?);
        }
        let view = StreamViewType::from(text(&self.0["StreamSpecification"], "StreamViewType")?);
        let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(view).build();
        Ok(request.stream_specification(stream.map_err(TemplateError::new)?))
    }

    /// The TTL attribute.
    pub fn ttl_attribute(&self) -> Result<&str, TemplateError> {
        text(&self.0["TimeToLiveSpecification"], "AttributeName")
    }
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value[name].as_array().into_iter().flatten()
}

fn text<'v>(value: &'v Value, name: &str) -> Result<&'v str, TemplateError> {
    value[name].as_str().ok_or_else(|| TemplateError(format!("the table has no {name}")))
}

fn schema(value: &Value) -> Result<Vec<KeySchemaElement>, TemplateError> {
    let element = |element: &Value| {
        KeySchemaElement::builder()
            .attribute_name(text(element, "AttributeName")?)
            .key_type(KeyType::from(text(element, "KeyType")?))
            .build()
            .map_err(TemplateError::new)
    };
    list(value, "KeySchema").map(element).collect()
}

fn filters(properties: &Value) -> Result<Vec<Value>, TemplateError> {
    let patterns = properties.pointer("/FilterCriteria/Filters").and_then(Value::as_array).into_iter().flatten();
    let read = |filter: &Value| {
        let pattern =
            serde_json::from_str(filter["Pattern"].as_str().unwrap_or_default()).map_err(TemplateError::new)?;
        if is_supported(&pattern) {
            Ok(pattern)
        } else {
            Err(TemplateError(format!("the filter {pattern} is not supported; use only objects and lists of strings")))
        }
    };
    patterns.map(read).collect()
}

/// Whether a pattern consists only of objects and lists of strings, none of them empty.
fn is_supported(pattern: &Value) -> bool {
    match pattern {
        Value::Object(members) => !members.is_empty() && members.values().all(is_supported),
        Value::Array(values) => !values.is_empty() && values.iter().all(Value::is_string),
        _ => false,
    }
}

/// Whether Lambda's event filter passes a record: one of the patterns matches it, or there are no patterns.
pub fn matches(filters: &[Value], record: &Value) -> bool {
    filters.is_empty() || filters.iter().any(|pattern| matches_pattern(pattern, record))
}

fn matches_pattern(pattern: &Value, value: &Value) -> bool {
    match pattern {
        Value::Object(members) => members.iter().all(|(name, pattern)| matches_pattern(pattern, &value[name])),
        Value::Array(allowed) => allowed.contains(value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stream_filter_passes_end_users_only() {
        let filters = Template::load().expect("a template").stream.filters;
        let image =
            |name: &str, kind: &str| json!({ "eventName": "MODIFY", "dynamodb": { name: { "kind": { "S": kind } } } });
        assert!(matches(&filters, &image("NewImage", "EndUser")));
        let removal =
            |kind: &str| json!({ "eventName": "REMOVE", "dynamodb": { "OldImage": { "kind": { "S": kind } } } });
        assert!(matches(&filters, &removal("EndUser")));
        for kind in ["Uid", "Count", "Entry", "IndexState", "Sequence", "Ticket", "Message"] {
            assert!(!matches(&filters, &image("NewImage", kind)) && !matches(&filters, &removal(kind)), "{kind}");
        }
    }

    #[test]
    fn unsupported_filter_is_an_error() {
        let filter = |pattern: &str| json!({ "FilterCriteria": { "Filters": [{ "Pattern": pattern }] } });
        assert!(filters(&filter(r#"{"a":{"b":["x"]}}"#)).is_ok());
        for pattern in ["{}", r#"{"a":[]}"#, r#"{"a":[{"prefix":"x"}]}"#, r#"{"a":"x"}"#, "not JSON"] {
            assert!(filters(&filter(pattern)).is_err(), "{pattern}");
        }
    }
}
