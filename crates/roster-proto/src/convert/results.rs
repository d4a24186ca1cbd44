//! The results of operations that are all refused for one reason: its words stand in the first of them.
//!
//! A message has up to ten thousand operations. A node that has too much to do refuses them together, and must not
//! write the same text ten thousand times for it. What a program goes by, the code and the value of a limit, is in each.

use crate::v1;
use crate::v1::refusal::Code;
use crate::v1::result::Outcome;

/// One result for each request, with the same refusal; the words are in the first.
#[must_use]
pub fn refuse_all(request_ids: impl IntoIterator<Item = u64>, refusal: &v1::Refusal) -> Vec<v1::Result> {
    let wordless = v1::Refusal { message: String::new(), limit: String::new(), ..refusal.clone() };
    let refusals = std::iter::once(refusal).chain(std::iter::repeat(&wordless));
    let result = |(request_id, refusal): (u64, &v1::Refusal)| {
        let outcome = Some(Outcome::Refusal(refusal.clone()));
        v1::Result { request_id, outcome }
    };
    request_ids.into_iter().zip(refusals).map(result).collect()
}

/// What the refusals of one message say, in the order in which they come.
#[derive(Debug, Default)]
pub struct RefusalWords {
    code: i32,
    message: String,
    limit: String,
}

impl RefusalWords {
    /// Gives a refusal that has no words those of the one before it; those of its code when there is none.
    pub fn complete(&mut self, refusal: &mut v1::Refusal) {
        if !refusal.message.is_empty() {
            self.code = refusal.code;
            self.message.clone_from(&refusal.message);
            self.limit.clone_from(&refusal.limit);
        } else if self.code == refusal.code && !self.message.is_empty() {
            refusal.message.clone_from(&self.message);
            refusal.limit.clone_from(&self.limit);
        } else {
            let code = Code::try_from(refusal.code).unwrap_or_default();
            refusal.message = format!("the node gives no reason but {}", code.as_str_name());
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn refusals(results: Vec<v1::Result>) -> Vec<v1::Refusal> {
        let refusal = |result: v1::Result| match result.outcome {
            Some(Outcome::Refusal(refusal)) => Some(refusal),
            Some(Outcome::Active(_) | Outcome::Pending(_) | Outcome::Done(_)) | None => None,
        };
        results.into_iter().filter_map(refusal).collect()
    }

    #[test]
    fn of_many_that_are_refused_for_one_reason_the_first_has_the_words_and_each_reads_as_if_it_had_them() {
        let limit = "bytes that wait (limits.waiting-bytes)".to_owned();
        let refusal = v1::Refusal {
            code: Code::LimitExceeded.into(),
            message: format!("{limit} is limited to 64; try again later"),
            limit,
            limit_max: 64,
            ..Default::default()
        };
        let results = refuse_all(1..=10_000, &refusal);
        assert_eq!((results.len(), results[9_999].request_id), (10_000, 10_000));
        let bytes = v1::Results { results: results.clone() }.encoded_len();
        assert!(bytes < 10_000 * 16, "{bytes} bytes");
        let mut words = RefusalWords::default();
        for mut each in refusals(results) {
            assert_eq!((each.code(), each.limit_max), (Code::LimitExceeded, 64));
            words.complete(&mut each);
            assert_eq!(each, refusal);
        }
        let mut other = v1::Refusal { code: Code::ReadOnly.into(), ..Default::default() };
        words.complete(&mut other);
        assert!(other.message.contains("READ_ONLY"), "{}", other.message);
    }
}
