//! How values become messages, and messages values.
//!
//! [`Json`] is what typed producers and consumers speak unless told otherwise; [`Raw`] hands messages
//! through as they are. Another format is a type with [`Encode`], [`Decode`] or both.

use bytes::Bytes;
use roster_core::Label;
use roster_core::queue::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// Makes messages of values.
pub trait Encode<T: ?Sized>: 'static {
    /// The message for this value.
    ///
    /// # Errors
    /// [`Error::NotEncoded`] when the value has no form in this format.
    fn encode(value: &T) -> Result<Message, Error>;
}

/// Makes values of messages.
pub trait Decode<T>: 'static {
    /// The value in this message.
    ///
    /// # Errors
    /// What is wrong with it, in words; the message is nacked with them.
    fn decode(message: &Message) -> Result<T, String>;
}

/// JSON, with the content type `application/json`. What is decoded may have any content type.
#[derive(Debug, Clone, Copy)]
pub enum Json {}

/// Bytes as they are.
#[derive(Debug, Clone, Copy)]
pub enum Raw {}

const CONTENT_TYPE: &str = "application/json";

impl<T: Serialize + ?Sized> Encode<T> for Json {
    fn encode(value: &T) -> Result<Message, Error> {
        let payload =
            serde_json::to_vec(value).map_err(|error| Error::NotEncoded { format: "JSON", source: Box::new(error) })?;
        let content_type = Label::parse("content type", CONTENT_TYPE)?;
        Ok(Message::described(payload.into(), content_type, Default::default()))
    }
}

impl<T: DeserializeOwned> Decode<T> for Json {
    fn decode(message: &Message) -> Result<T, String> {
        serde_json::from_slice(message.payload()).map_err(|error| format!("the payload does not parse: {error}"))
    }
}

impl Encode<Message> for Raw {
    fn encode(value: &Message) -> Result<Message, Error> {
        Ok(value.clone())
    }
}

impl Encode<Bytes> for Raw {
    fn encode(value: &Bytes) -> Result<Message, Error> {
        Ok(Message::plain(value.clone()))
    }
}

impl Decode<Message> for Raw {
    fn decode(message: &Message) -> Result<Message, String> {
        Ok(message.clone())
    }
}

impl Decode<Bytes> for Raw {
    fn decode(message: &Message) -> Result<Bytes, String> {
        Ok(message.payload().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_what_it_is_and_comes_back() {
        let message = <Json as Encode<(u8, &str)>>::encode(&(7, "a")).unwrap();
        assert_eq!((message.content_type(), &message.payload()[..]), (CONTENT_TYPE, &b"[7,\"a\"]"[..]));
        assert_eq!(<Json as Decode<(u8, String)>>::decode(&message), Ok((7, "a".to_owned())));
    }

    #[test]
    fn what_does_not_parse_says_where() {
        let message = Message::plain(Bytes::from_static(b"{\"a\": oh}"));
        let wrong = <Json as Decode<serde_json::Value>>::decode(&message).unwrap_err();
        assert!(wrong.starts_with("the payload does not parse: expected value at line 1 column 7"), "{wrong}");
    }
}
