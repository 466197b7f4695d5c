//! The framing of ITCH files: each message after its two-byte big-endian length.

use core::fmt;

use super::{ItchError, Message, decode};

/// One message of a file, as bytes.
///
/// ```
/// use onbeat_systems::wire::itch::{Frame, Frames, Header, Message, OrderDelete, encode_frame};
/// use onbeat_systems::wire::OrderRef;
///
/// let delete = Message::OrderDelete(OrderDelete { header: Header::default(), reference: OrderRef(7) });
/// let (mut message, mut file) = (Vec::new(), Vec::new());
/// delete.encode(&mut message)?;
/// encode_frame(&mut file, &message);
/// let frame: Frame<'_> = Frames::new(&file).next().unwrap()?;
/// assert_eq!((frame.index, frame.offset, frame.decode()), (0, 0, Ok(delete)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Which message of the file this is, from 0.
    pub index: u64,
    /// Where its length starts in the file.
    pub offset: u64,
    /// The message without its length.
    pub bytes: &'a [u8],
}

impl Frame<'_> {
    /// The message.
    ///
    /// # Errors
    ///
    /// When the bytes are no message; the error says which one it is and where it stands.
    #[inline]
    pub fn decode(&self) -> Result<Message, FileError> {
        decode(self.bytes).map_err(|error| FileError {
            index: self.index,
            offset: self.offset,
            kind: FileErrorKind::Message(error),
        })
    }
}

/// The messages of a file in memory, in order. The first error is the last item.
///
/// ```
/// use onbeat_systems::wire::itch::{FileErrorKind, Frames};
///
/// let mut frames = Frames::new(b"\x00\x02ab\x00\x03c");
/// assert_eq!(frames.next().unwrap()?.bytes, b"ab");
/// let error = frames.next().unwrap().unwrap_err();
/// assert_eq!((error.index, error.offset), (1, 4));
/// assert_eq!(error.kind, FileErrorKind::TruncatedBody { expected: 3, actual: 1 });
/// assert!(frames.next().is_none());
/// # Ok::<(), onbeat_systems::wire::itch::FileError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    offset: usize,
    index: u64,
}

impl<'a> Frames<'a> {
    /// The messages of the file whose content is `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, index: 0 }
    }

    /// Ends the walk at what is wrong here.
    #[cold]
    fn fail(&mut self, kind: FileErrorKind) -> FileError {
        let error = FileError { index: self.index, offset: self.offset as u64, kind };
        self.offset = self.bytes.len();
        error
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, FileError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let Some((length, body)) = rest.split_first_chunk() else {
            return Some(Err(self.fail(FileErrorKind::TruncatedLength)));
        };
        let expected = usize::from(u16::from_be_bytes(*length));
        if expected == 0 {
            return Some(Err(self.fail(FileErrorKind::Empty)));
        }
        let Some(bytes) = body.get(..expected) else {
            let actual = body.len();
            return Some(Err(self.fail(FileErrorKind::TruncatedBody { expected, actual })));
        };
        let frame = Frame { index: self.index, offset: self.offset as u64, bytes };
        self.index += 1;
        self.offset += 2 + expected;
        Some(Ok(frame))
    }
}

impl core::iter::FusedIterator for Frames<'_> {}

/// Appends `message` with its length before it.
///
/// # Panics
///
/// When the message is empty, or longer than 65,535 bytes.
///
/// ```
/// use onbeat_systems::wire::itch::encode_frame;
///
/// let mut file = Vec::new();
/// encode_frame(&mut file, b"ab");
/// assert_eq!(file, b"\x00\x02ab");
/// ```
pub fn encode_frame(out: &mut Vec<u8>, message: &[u8]) {
    assert!(!message.is_empty(), "a message has at least its type byte");
    let length = u16::try_from(message.len());
    let length = length.expect("a framed message has at most 65,535 bytes");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
}

/// Where a file stops making sense, and why. What comes after cannot be trusted.
///
/// [`Frames`] has an example.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileError {
    /// Which message of the file this is, from 0.
    pub index: u64,
    /// Where its length starts in the file.
    pub offset: u64,
    /// What is wrong there.
    pub kind: FileErrorKind,
}

/// What is wrong at one place of a file.
///
/// [`Frames`] has an example.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileErrorKind {
    /// The file ends within a length.
    TruncatedLength,
    /// The file ends within a message.
    TruncatedBody {
        /// Bytes that the length announces.
        expected: usize,
        /// Bytes that are left.
        actual: usize,
    },
    /// The length is zero.
    Empty,
    /// The message is not of ITCH 5.0.
    Message(ItchError),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} at offset {}: ", self.index, self.offset)?;
        match self.kind {
            FileErrorKind::TruncatedLength => f.write_str("the file ends within a length"),
            FileErrorKind::TruncatedBody { expected, actual } => {
                write!(f, "the length says {expected} bytes, the file has {actual} more")
            }
            FileErrorKind::Empty => f.write_str("the length is zero"),
            FileErrorKind::Message(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for FileError {}
