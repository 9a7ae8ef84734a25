//! A token issuer that publishes keys over HTTP.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::app::App;

/// What an issuer does with a request for its keys.
pub type Act = Arc<dyn Fn(&mut TcpStream) + Send + Sync>;

pub fn act(act: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Act {
    Arc::new(act)
}

/// Bytes as they stand, then the end of the connection.
pub fn raw(bytes: impl Into<Vec<u8>>) -> Act {
    let bytes = bytes.into();
    act(move |stream| {
        let _ = stream.write_all(&bytes);
    })
}

pub fn answer(status: &str, kind: &str, body: impl AsRef<[u8]>) -> Act {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.as_ref().len());
    raw([head.as_bytes(), body.as_ref()].concat())
}

pub fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// An issuer on a port of its own; counts how often its keys are asked for.
pub struct Issuer {
    pub url: String,
    pub act: Arc<Mutex<Act>>,
    fetched: Arc<AtomicUsize>,
}

impl Issuer {
    /// One that ends every connection without an answer, until it is told otherwise.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let issuer = Self { url, act: Arc::new(Mutex::new(raw(""))), fetched: Arc::default() };
        let (act, fetched) = (issuer.act.clone(), issuer.fetched.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, act, fetched) = (stream.unwrap(), act.clone(), fetched.clone());
                std::thread::spawn(move || {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        if stream.read(&mut byte).unwrap_or(0) == 0 {
                            return;
                        }
                        request.push(byte[0]);
                    }
                    fetched.fetch_add(1, Ordering::SeqCst);
                    let act = act.lock().unwrap().clone();
                    act(&mut stream);
                });
            }
        });
        issuer
    }

    pub fn publishing(keys: &[Value]) -> Self {
        let issuer = Self::start();
        issuer.publishes(keys);
        issuer
    }

    pub fn publishes(&self, keys: &[Value]) {
        self.does(&answer("200 OK", "application/json", set(keys)));
    }

    pub fn does(&self, act: &Act) {
        *self.act.lock().unwrap() = act.clone();
    }

    pub fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }

    pub async fn app(&self) -> App {
        App::with(&[("JWT_SECRET", ""), ("JWT_JWKS_URL", &self.url)]).await
    }
}
