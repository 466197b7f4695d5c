//! What is sent. The first byte says what a packet is; numbers are little-endian.

/// The longest packet: a snapshot of 200 players.
pub(crate) const LONGEST: usize = 1_400;

const PLAYER_BYTES: usize = 6;
const CENTIMETRES: f32 = 100.0;

/// What a player sends.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum ToServer {
    /// To the lobby: let me in. Sent again until the answer comes.
    Join,
    /// Where the player wants to go: a fraction of full speed along each axis.
    Input {
        sequence: u32,
        wish: [f32; 2],
    },
    Leave,
}

impl ToServer {
    pub(crate) fn encode(self) -> Vec<u8> {
        match self {
            Self::Join => vec![b'J'],
            Self::Leave => vec![b'L'],
            Self::Input { sequence, wish } => {
                let mut packet = vec![b'I'];
                packet.extend(sequence.to_le_bytes());
                // A cast from a float saturates.
                packet.extend(wish.map(|part| (part * 100.0) as i8 as u8));
                packet
            }
        }
    }

    /// `None`: nothing that this protocol knows.
    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        match packet {
            [b'J'] => Some(Self::Join),
            [b'L'] => Some(Self::Leave),
            [b'I', a, b, c, d, x, y] => Some(Self::Input {
                sequence: u32::from_le_bytes([*a, *b, *c, *d]),
                wish: [*x, *y].map(|part| f32::from(part as i8) / 100.0),
            }),
            _ => None,
        }
    }
}

/// The answer to `Join`, from the socket to which the player talks from then on.
pub(crate) fn welcome(player: u16) -> [u8; 3] {
    let [low, high] = player.to_le_bytes();
    [b'W', low, high]
}

/// The number of the player who is welcome.
pub(crate) fn decode_welcome(packet: &[u8]) -> Option<u16> {
    match packet {
        [b'W', low, high] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    }
}

/// Where everybody is, in this frame.
pub(crate) fn encode_snapshot(
    packet: &mut Vec<u8>,
    frame: u64,
    players: impl Iterator<Item = (u16, [f32; 2])>,
) {
    packet.clear();
    packet.push(b'S');
    packet.extend(frame.to_le_bytes());
    for (player, position) in players {
        packet.extend(player.to_le_bytes());
        for part in position {
            packet.extend(((part * CENTIMETRES) as i16).to_le_bytes());
        }
    }
}

/// The frame of a snapshot, and where `player` is in it.
pub(crate) fn decode_snapshot(packet: &[u8], player: u16) -> Option<(u64, Option<[f32; 2]>)> {
    let (head, players) = packet.split_at_checked(9)?;
    let ([b'S', frame @ ..], 0) = (head, players.len() % PLAYER_BYTES) else {
        return None;
    };
    let frame = u64::from_le_bytes(frame.try_into().ok()?);
    let own = players.chunks_exact(PLAYER_BYTES).find(|bytes| bytes[..2] == player.to_le_bytes());
    let part = |bytes: &[u8], at| f32::from(i16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let position = own.map(|bytes| [part(bytes, 2) / CENTIMETRES, part(bytes, 4) / CENTIMETRES]);
    Some((frame, position))
}
