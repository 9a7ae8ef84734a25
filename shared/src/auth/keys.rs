//! The keys that verify tokens. A key has exactly one algorithm (RFC 8725 §3.1). Weak key material is refused.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use spki::SubjectPublicKeyInfoRef;
use spki::der::asn1::UintRef;
use spki::der::{self, Decode, Reader, SliceReader};

use crate::domain::input::Json;

const RSA: spki::ObjectIdentifier = spki::ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: spki::ObjectIdentifier = spki::ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: spki::ObjectIdentifier = spki::ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519: spki::ObjectIdentifier = spki::ObjectIdentifier::new_unwrap("1.3.101.112");

/// A key with its only algorithm. `DecodingKey` zeroizes its memory and its `Debug` output has no key bytes.
#[derive(Debug)]
pub(super) struct Key {
    algorithm: Algorithm,
    material: DecodingKey,
}

impl Key {
    /// The HS256 key of a shared secret of at least 32 bytes (RFC 7518 §3.2).
    pub(super) fn secret(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= 32).then(|| Self { algorithm: Algorithm::HS256, material: DecodingKey::from_secret(bytes) })
    }

    /// Reads a PEM public key: SubjectPublicKeyInfo, or PKCS#1 for RSA. White space is read as in RFC 7468 §3, and the
    /// two characters `\n` count as a line end.
    pub(super) fn pem(text: &str) -> Result<Self, &'static str> {
        let (label, der) = parse_pem(text).ok_or("is not a PEM public key")?;
        match label.as_str() {
            "PUBLIC KEY" => Self::spki(&der),
            "RSA PUBLIC KEY" => Self::pkcs1(&der),
            _ => Err("must be a PUBLIC KEY or an RSA PUBLIC KEY"),
        }
    }

    fn spki(der: &[u8]) -> Result<Self, &'static str> {
        let broken = "is not a SubjectPublicKeyInfo (RFC 5280 §4.1)";
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| broken)?;
        let bytes = info.subject_public_key.as_bytes().ok_or(broken)?;
        match info.algorithm.oid {
            RSA => Self::pkcs1(bytes),
            EC if info.algorithm.parameters_oid() == Ok(P256) => {
                Self::p256(bytes).ok_or("must contain an uncompressed P-256 point")
            }
            EC => Err("is on a curve other than P-256"),
            ED25519 => Self::ed25519(bytes).ok_or(broken),
            _ => Err("is neither an RSA, a P-256 nor an Ed25519 key"),
        }
    }

    fn pkcs1(der: &[u8]) -> Result<Self, &'static str> {
        let integers = || -> der::Result<_> {
            let mut reader = SliceReader::new(der)?;
            let pair = reader.sequence(|r| der::Result::Ok((UintRef::decode(r)?, UintRef::decode(r)?)))?;
            reader.finish()?;
            Ok(pair)
        };
        let (n, e) = integers().map_err(|_| "is not an RSAPublicKey (RFC 8017 §A.1.1)")?;
        Self::rsa(n.as_bytes(), e.as_bytes())
            .ok_or("must be an RSA key of 2,048 to 8,192 bits with an odd exponent from 3")
    }

    /// The RS256 key of an RSA modulus and exponent, of at least 2,048 bits (RFC 7518 §3.3).
    fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        let (n, e) = (significant(n), significant(e));
        let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
        let odd = |bytes: &[u8]| bytes.last().is_some_and(|byte| byte & 1 == 1);
        let sound = (2048..=8192).contains(&bits) && odd(n) && odd(e) && e != [1] && e.len() <= 4;
        sound.then(|| Self { algorithm: Algorithm::RS256, material: DecodingKey::from_rsa_raw_components(n, e) })
    }

    /// The ES256 key of an uncompressed P-256 point (SEC 1 §2.3.3).
    fn p256(point: &[u8]) -> Option<Self> {
        (point.len() == 65 && point[0] == 4)
            .then(|| Self { algorithm: Algorithm::ES256, material: DecodingKey::from_ec_der(point) })
    }

    /// The EdDSA key of an Ed25519 public key (RFC 8037).
    fn ed25519(public: &[u8]) -> Option<Self> {
        (public.len() == 32).then(|| Self { algorithm: Algorithm::EdDSA, material: DecodingKey::from_ed_der(public) })
    }

    /// The public key of an entry of a JWK Set; `None` if it cannot verify tokens (RFC 7517 §4). Symmetric keys are
    /// ignored, because a published set cannot contain a secret.
    pub(super) fn jwk(jwk: &Json) -> Option<Self> {
        let text = |name| jwk.member(name).and_then(Json::as_str);
        let bytes = |name| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let coordinate = |name| bytes(name).filter(|bytes| bytes.len() == 32);

        let for_signatures = jwk.member("use").is_none_or(|u| u.as_str() == Some("sig"));
        let may_verify = jwk.member("key_ops").is_none_or(|ops| match ops {
            Json::Array(ops) => ops.iter().any(|op| op.as_str() == Some("verify")),
            _ => false,
        });
        if !for_signatures || !may_verify || !jwk.duplicate_names().is_empty() {
            return None;
        }
        let key = match (text("kty")?, text("crv")) {
            ("RSA", _) => Self::rsa(&bytes("n")?, &bytes("e")?)?,
            ("EC", Some("P-256")) => Self::p256(&[&[4], &*coordinate("x")?, &*coordinate("y")?].concat())?,
            ("OKP", Some("Ed25519")) => Self::ed25519(&bytes("x")?)?,
            _ => return None,
        };
        jwk.member("alg").is_none_or(|alg| alg.as_str() == Some(key.algorithm())).then_some(key)
    }

    /// The name of the algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
    pub(super) fn algorithm(&self) -> &'static str {
        match self.algorithm {
            Algorithm::HS256 => "HS256",
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            _ => "EdDSA",
        }
    }

    /// Returns whether `signature`, in base64url, is a signature of `message` by this key (RFC 7515 §5.2).
    pub(super) fn verifies(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.material, self.algorithm).unwrap_or(false)
    }

    /// The signing key of a secret; `None` for a public key.
    pub(super) fn signing(&self) -> Option<EncodingKey> {
        let secret = (self.algorithm == Algorithm::HS256).then(|| self.material.try_get_as_bytes().ok());
        secret.flatten().map(EncodingKey::from_secret)
    }
}

/// Removes leading zeros.
fn significant(integer: &[u8]) -> &[u8] {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    &integer[zeros..]
}

/// The label and content of a PEM text with one block.
fn parse_pem(text: &str) -> Option<(String, Vec<u8>)> {
    let text = text.replace("\\n", "\n");
    let (label, rest) = text.trim().strip_prefix("-----BEGIN ")?.split_once("-----")?;
    let (body, end) = rest.split_once("-----END ")?;
    let body: String = body.split_ascii_whitespace().collect();
    let whole = end.strip_suffix("-----") == Some(label);
    Some((label.to_owned(), STANDARD.decode(body).ok().filter(|_| whole)?))
}
