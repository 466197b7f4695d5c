//! Reading an ITCH file message by message, so that a full day takes no more memory than a minute.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use onbeat_systems::instrument::Symbol;
use onbeat_systems::price::MarketTime;
use onbeat_systems::wire::itch::{self, FileError, FileErrorKind, Message, StockDirectory};

/// Bytes read from the file at once.
const READ_SIZE: usize = 1 << 20;

/// A file of messages, each after its two-byte big-endian length.
#[derive(Debug)]
pub(crate) struct FeedFile<R = File> {
    reader: BufReader<R>,
    index: u64,
    offset: u64,
    bytes: Vec<u8>,
}

/// Why a file cannot be read on.
#[derive(Debug)]
pub(crate) enum FeedFileError {
    /// What stands there is no message.
    Framing(FileError),
    /// The operating system refuses.
    Io(io::Error),
}

impl fmt::Display for FeedFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Framing(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FeedFileError {}

impl FeedFile {
    /// Opens a file, which must not be empty.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::new(ErrorKind::IsADirectory, "it is a directory"));
        }
        if metadata.is_file() && metadata.len() == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "it is empty"));
        }
        Ok(Self::new(file))
    }
}

impl<R: Read> FeedFile<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::with_capacity(READ_SIZE, reader),
            index: 0,
            offset: 0,
            bytes: Vec::new(),
        }
    }

    /// The next message, or `None` at the end of the file. Its bytes are in [`bytes`](Self::bytes).
    ///
    /// # Errors
    ///
    /// When the rest of the file cannot be read or makes no sense; nothing more can be read then.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, FeedFileError> {
        let mut length = [0; 2];
        match self.fill(&mut length)? {
            0 => return Ok(None),
            1 => return Err(self.framing(FileErrorKind::TruncatedLength)),
            _ => {}
        }
        let expected = usize::from(u16::from_be_bytes(length));
        if expected == 0 {
            return Err(self.framing(FileErrorKind::Empty));
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(expected, 0);
        let actual = self.fill(&mut bytes);
        self.bytes = bytes;
        let actual = actual?;
        if actual < expected {
            return Err(self.framing(FileErrorKind::TruncatedBody { expected, actual }));
        }
        let message = itch::decode(&self.bytes)
            .map_err(|error| self.framing(FileErrorKind::Message(error)))?;
        self.index += 1;
        self.offset += 2 + expected as u64;
        Ok(Some(message))
    }

    /// The bytes of the last message, without the length.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads until `buffer` is full or the file ends; how many bytes it has read.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, FeedFileError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(FeedFileError::Io(error)),
            }
        }
        Ok(filled)
    }

    fn framing(&self, kind: FileErrorKind) -> FeedFileError {
        FeedFileError::Framing(FileError { index: self.index, offset: self.offset, kind })
    }
}

/// What a look for an instrument has found in a file.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The directory message that was looked for.
    pub(crate) directory: Option<StockDirectory>,
    /// The messages up to it, or up to where the file ends or breaks.
    pub(crate) messages: u64,
    /// The timestamp of the last of them.
    pub(crate) last: Option<MarketTime>,
    /// The symbols that other directory messages name, the first few.
    pub(crate) others: Vec<Symbol>,
    /// Why the file could not be read on.
    pub(crate) error: Option<FeedFileError>,
}

impl Survey {
    /// How many other symbols are kept.
    const OTHERS: usize = 5;

    /// Looks for the directory message of `symbol`, or for the first one where none is named.
    pub(crate) fn of<R: Read>(file: &mut FeedFile<R>, symbol: Option<Symbol>) -> Self {
        let mut survey = Self::default();
        loop {
            let message = match file.next() {
                Ok(Some(message)) => message,
                Ok(None) => return survey,
                Err(error) => {
                    survey.error = Some(error);
                    return survey;
                }
            };
            survey.messages += 1;
            survey.last = Some(message.timestamp());
            if let Message::StockDirectory(directory) = message {
                if symbol.is_none_or(|symbol| symbol == directory.symbol) {
                    survey.directory = Some(directory);
                    return survey;
                }
                if survey.others.len() < Self::OTHERS {
                    survey.others.push(directory.symbol);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use onbeat_systems::wire::itch::{ItchError, encode_frame};

    use super::*;

    const EVENT: &[u8] = b"S\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01O";

    fn error_after_one_message(rest: &[u8]) -> FileError {
        let mut file = Vec::new();
        encode_frame(&mut file, EVENT);
        file.extend_from_slice(rest);
        let mut file = FeedFile::new(file.as_slice());
        assert!(file.next().unwrap().is_some());
        assert_eq!(file.bytes(), EVENT);
        match file.next() {
            Err(FeedFileError::Framing(error)) => error,
            other => panic!("a framing error is expected, not {other:?}"),
        }
    }

    #[test]
    fn a_file_that_ends_within_a_length_or_a_message_is_named_with_its_place() {
        let error = error_after_one_message(b"\x00");
        assert_eq!((error.index, error.offset), (1, 14));
        assert_eq!(error.kind, FileErrorKind::TruncatedLength);
        let error = error_after_one_message(b"\x00\x0cS\x00");
        assert_eq!(error.kind, FileErrorKind::TruncatedBody { expected: 12, actual: 2 });
    }

    #[test]
    fn a_length_that_does_not_fit_and_an_unknown_type_are_named() {
        assert_eq!(error_after_one_message(b"\x00\x00").kind, FileErrorKind::Empty);
        let kind = error_after_one_message(b"\x00\x01?").kind;
        assert_eq!(kind, FileErrorKind::Message(ItchError::UnknownType { kind: b'?' }));
        let kind = error_after_one_message(b"\x00\x02S?").kind;
        let wrong = ItchError::WrongLength { kind: b'S', expected: 12, actual: 2 };
        assert_eq!(kind, FileErrorKind::Message(wrong));
    }
}
