//! Several short texts in one piece of memory.
//!
//! A registry holds millions of tags and metadata pairs, most of a few bytes. As a list of strings each
//! costs 24 bytes before its first letter; here it costs one (docs/performance.md).

use crate::limits::METADATA_VALUE_BYTES_MAX;

/// Texts one after the other, each behind its length in bytes as a character, and all behind their
/// number as a character. None at all is the empty text, which takes no memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Texts(Box<str>);

impl Texts {
    /// Of texts that each have at most [`METADATA_VALUE_BYTES_MAX`] bytes.
    pub(super) fn of<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Self {
        let number = texts.clone().count();
        if number == 0 {
            return Self::default();
        }
        let number = character(number);
        let length = |text: &str| character(text.len()).len_utf8() + text.len();
        let mut packed = String::with_capacity(number.len_utf8() + texts.clone().map(length).sum::<usize>());
        packed.push(number);
        for text in texts {
            packed.push(character(text.len()));
            packed.push_str(text);
        }
        Self(packed.into_boxed_str())
    }

    pub(super) fn iter(&self) -> Iter<'_> {
        let mut characters = self.0.chars();
        let left = characters.next().map_or(0, |number| number as usize);
        Iter { left, rest: characters.as_str() }
    }
}

fn character(number: usize) -> char {
    const { assert!(METADATA_VALUE_BYTES_MAX < 0xD800, "above are numbers that are no characters") };
    let character = u32::try_from(number).ok().and_then(char::from_u32);
    character.expect("a text is checked before it is packed")
}

#[derive(Debug, Clone)]
pub(super) struct Iter<'a> {
    left: usize,
    rest: &'a str,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut characters = self.rest.chars();
        let length = characters.next()?;
        let (text, rest) = characters.as_str().split_at(length as usize);
        self.rest = rest;
        self.left -= 1;
        Some(text)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_what_was_packed_whatever_their_length_and_letters() {
        let long = "é".repeat(METADATA_VALUE_BYTES_MAX / 2);
        let sets: [&[&str]; 5] = [&[], &[""], &["", "a", ""], &["名前", "\u{1F}\n", "x"], &[&long, "a", &long]];
        for texts in sets {
            let packed = Texts::of(texts.iter().copied());
            assert_eq!(packed.iter().len(), texts.len());
            assert!(packed.iter().eq(texts.iter().copied()), "{texts:?}");
            assert_eq!(packed.clone(), packed);
        }
        assert_ne!(Texts::of(["ab", "c"].into_iter()), Texts::of(["a", "bc"].into_iter()));
    }

    #[test]
    fn short_texts_cost_their_letters_and_one_byte_each() {
        assert_eq!(Texts::of(["blue", "canary"].into_iter()).0.len(), 1 + 5 + 7);
    }
}
