//! Functions as processes, as Lambda runs them: each process runs a function's `bootstrap` behind a Runtime API of its
//! own (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

mod api;
mod executable;
mod pool;
mod process;

pub use api::NextRequest;
pub(crate) use pool::Pool;
pub use process::{Process, environment};
