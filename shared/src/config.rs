//! Reading environment variables. An empty variable counts as unset.

/// The longest leeway of token times, in seconds.
pub(crate) const MAX_LEEWAY_SECONDS: u32 = 3600;

/// An invalid configuration, which prevents a function from starting. Messages never contain a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A required variable is not set.
    #[error("{0} must be set")]
    Missing(&'static str),
    /// A variable is neither `true` nor `false`.
    #[error("{0} must be true or false")]
    Flag(&'static str),
    /// `DEFAULT_PHONE_REGION` is not a region.
    #[error("DEFAULT_PHONE_REGION must be a two-letter region code, but is {0}")]
    Region(String),
    /// `UID_POLICY` is not a policy.
    #[error("UID_POLICY must be Shared or Exclusive, but is {0}")]
    UidPolicy(String),
    /// None of the key sources is set.
    #[error("no key source: set exactly one of JWT_SECRET, JWT_PUBLIC_KEY and JWT_JWKS_URL")]
    NoKeySource,
    /// More than one key source is set, so it is ambiguous which one counts.
    #[error("{0} are set: set exactly one of JWT_SECRET, JWT_PUBLIC_KEY and JWT_JWKS_URL")]
    SeveralKeySources(String),
    /// The secret is shorter than the hash (RFC 7518 §3.2).
    #[error("JWT_SECRET must be at least 32 bytes long")]
    ShortSecret,
    /// The text after `base64:` is not base64.
    #[error("JWT_SECRET begins with base64: but the rest is not base64")]
    SecretEncoding,
    /// The public key is invalid or of an unsupported kind.
    #[error("JWT_PUBLIC_KEY {0}")]
    PublicKey(&'static str),
    /// The URL of the key set is invalid.
    #[error("JWT_JWKS_URL must be an absolute http or https URL")]
    JwksUrl,
    /// The leeway is invalid.
    #[error("JWT_LEEWAY_SECONDS must be a whole number from 0 to {MAX_LEEWAY_SECONDS}")]
    Leeway,
}

/// Environment variables by name.
#[derive(Clone, Copy)]
pub(crate) struct Variables<'a>(pub(crate) &'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    /// The value of a variable; `None` if it is unset or empty.
    pub(crate) fn get(self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The value of a required variable.
    pub(crate) fn require(self, name: &'static str) -> Result<String, ConfigError> {
        self.get(name).ok_or(ConfigError::Missing(name))
    }

    /// Whether a variable is `true`; `false` if it is unset.
    pub(crate) fn flag(self, name: &'static str) -> Result<bool, ConfigError> {
        match self.get(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ConfigError::Flag(name)),
        }
    }
}
