//! What an error of rskafka is called: Kafka's name wherever there is one, else the library's words.

use std::fmt::Display;

use rskafka::BackoffError;
use rskafka::client::error::{Error, ProtocolError};
use serde_json::{Value, json};

/// Why a command was not carried out: Kafka's code or name of the error, or words.
#[derive(Debug)]
pub struct Refusal(pub Value);

pub type Answer<T> = Result<T, Refusal>;

impl Refusal {
    pub fn because(why: impl Display) -> Self {
        Self(json!(why.to_string()))
    }
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        match error {
            Error::ServerError { protocol_error, .. } => Self(name(*protocol_error)),
            Error::RetryFailed(BackoffError::DeadlineExceded { source, .. }) => source
                .downcast_ref::<Error>()
                .map_or_else(|| Self::because(source), Self::from),
            other => Self::because(other),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

/// rskafka's names are Kafka's, written as those of Rust are: TopicAlreadyExists.
fn name(error: ProtocolError) -> Value {
    if let ProtocolError::Unknown(code) = error {
        return json!(code);
    }
    let mut name = String::new();
    for letter in format!("{error:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    json!(name)
}
