//! An answer to a reader whose content is encoded already.
//!
//! The same bytes answer whoever asks until what they say is no longer so; only the position is written for each
//! call. Fields may stand in any order, so it stands behind them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{DecodeContext, WireType, skip_field, uint64};
use prost::{DecodeError, Message};

/// The wire form of [`crate::v1::ListInstancesResponse`].
pub type ListInstancesResponse = Reading<3>;
/// The wire form of [`crate::v1::GetMainResponse`].
pub type GetMainResponse = Reading<2>;

/// A message of one number, in the field `POSITION`, and of texts or messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading<const POSITION: u32> {
    /// All the other fields, as they stand in the message.
    pub content: Bytes,
    pub position: u64,
}

impl<const POSITION: u32> Message for Reading<POSITION> {
    fn encode_raw(&self, into: &mut impl BufMut) {
        into.put_slice(&self.content);
        if self.position != 0 {
            uint64::encode(POSITION, &self.position, into);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        from: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        match wire_type {
            WireType::Varint if tag == POSITION => uint64::merge(wire_type, &mut self.position, from, context),
            WireType::LengthDelimited if tag != POSITION => {
                let mut field = Bytes::new();
                prost::encoding::bytes::merge(wire_type, &mut field, from, context)?;
                let mut content = BytesMut::from(std::mem::take(&mut self.content));
                prost::encoding::bytes::encode(tag, &field, &mut content);
                self.content = content.freeze();
                Ok(())
            }
            WireType::Varint
            | WireType::SixtyFourBit
            | WireType::LengthDelimited
            | WireType::StartGroup
            | WireType::EndGroup
            | WireType::ThirtyTwoBit => skip_field(wire_type, tag, from, context),
        }
    }

    fn encoded_len(&self) -> usize {
        let position = if self.position == 0 { 0 } else { uint64::encoded_len(POSITION, &self.position) };
        self.content.len() + position
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    fn instance(id: u64) -> v1::Instance {
        v1::Instance { id, ..Default::default() }
    }

    #[test]
    fn an_answer_with_encoded_content_reads_as_a_plain_one() {
        let content = v1::ListInstancesResponse {
            instances: vec![instance(1), instance(300)],
            next_page_token: "a 300".into(),
            position: 0,
        };
        for position in [0, 7, u64::MAX] {
            let plain = v1::ListInstancesResponse { position, ..content.clone() };
            let encoded = ListInstancesResponse { content: content.encode_to_vec().into(), position };
            assert_eq!(encoded.encode_to_vec(), plain.encode_to_vec());
            assert_eq!(encoded.encoded_len(), plain.encoded_len());
            assert_eq!(ListInstancesResponse::decode(plain.encode_to_vec().as_slice()).unwrap(), encoded);
        }
        let plain = v1::GetMainResponse { main: Some(instance(5)), position: 9 };
        let encoded = GetMainResponse::decode(plain.encode_to_vec().as_slice()).unwrap();
        assert_eq!((encoded.position, encoded.encode_to_vec()), (9, plain.encode_to_vec()));
    }
}
