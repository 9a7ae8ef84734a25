//! A token issuer that publishes its key set over HTTP.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::app::App;

/// The reaction of an issuer to a request for its key set.
pub type Reaction = Arc<dyn Fn(&mut TcpStream) + Send + Sync>;

pub fn reaction(reaction: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Reaction {
    Arc::new(reaction)
}

/// Sends these bytes unchanged, then closes the connection.
pub fn raw_bytes(bytes: impl Into<Vec<u8>>) -> Reaction {
    let bytes = bytes.into();
    reaction(move |stream| {
        let _ = stream.write_all(&bytes);
    })
}

pub fn response(status: &str, kind: &str, body: impl AsRef<[u8]>) -> Reaction {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.as_ref().len());
    raw_bytes([head.as_bytes(), body.as_ref()].concat())
}

pub fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// An issuer on its own port. It counts the requests for its key set.
pub struct Issuer {
    pub url: String,
    pub reaction: Arc<Mutex<Reaction>>,
    fetched: Arc<AtomicUsize>,
}

impl Issuer {
    /// Starts an issuer that closes every connection without a response until [`Issuer::react_with`] changes it.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let issuer = Self { url, reaction: Arc::new(Mutex::new(raw_bytes(""))), fetched: Arc::default() };
        let (reaction, fetched) = (issuer.reaction.clone(), issuer.fetched.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, reaction, fetched) = (stream.unwrap(), reaction.clone(), fetched.clone());
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
                    let reaction = reaction.lock().unwrap().clone();
                    reaction(&mut stream);
                });
            }
        });
        issuer
    }

    pub fn publishing(keys: &[Value]) -> Self {
        let issuer = Self::start();
        issuer.publish(keys);
        issuer
    }

    pub fn publish(&self, keys: &[Value]) {
        self.react_with(&response("200 OK", "application/json", key_set(keys)));
    }

    pub fn react_with(&self, reaction: &Reaction) {
        *self.reaction.lock().unwrap() = reaction.clone();
    }

    pub fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }

    pub async fn app(&self) -> App {
        App::with(&[("JWT_SECRET", ""), ("JWT_JWKS_URL", &self.url)]).await
    }
}
