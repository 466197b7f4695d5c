//! Programs: scripts of operations, read from bytes, any bytes.

/// Tasks that a program may start, the root included.
pub(crate) const TASKS_MAX: usize = 24;
/// Channels that every program has.
pub(crate) const CHANNELS: usize = 2;
/// Stages that every program has.
pub(crate) const STAGES: usize = 2;
const SCRIPTS: usize = 6;
const OPS_MAX: usize = 12;

/// What a task does next. Tasks are named by a number that is taken modulo those there are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Yield,
    Sleep(u64),
    /// Until a time since the beginning.
    SleepUntil(u64),
    NextTick,
    At(usize),
    Next(usize),
    Send(usize),
    TrySend(usize),
    Recv(usize),
    RecvWithin(usize, u64),
    Close(usize),
    /// Through the waker of that task's first poll, which may be stale.
    Wake(usize),
    /// That task is woken by the system of a stage.
    WakeInStage(usize, usize),
    /// That task is woken by the destructor of this one.
    WakeOnDrop(usize),
    Spawn(How, usize),
    Abort(usize),
    DropHandle(usize),
    Join(usize),
    Write,
    Panic,
}

/// Which memory a task is spawned in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Boxed,
    Slab,
    Any,
    Claim,
}

/// What runs: script 0 is the root's, and it ends at `horizon_ns`.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) scripts: Vec<Vec<Op>>,
    pub(crate) tasks_per_cycle: usize,
    pub(crate) capacities: [usize; CHANNELS],
    pub(crate) horizon_ns: u64,
    /// Each poll is counted and hashed, which is another way through the executor.
    pub(crate) is_noted: bool,
}

impl Program {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let is_noted = bytes.len() % 2 == 1;
        let mut reader = Reader(bytes);
        let tasks_per_cycle = [1, 2, 3, 5, 1_000, 1_000][reader.below(6)];
        let capacities = [1 + reader.below(3), 1 + reader.below(3)];
        let horizon_ns = [50, 100_000, 10_000_000, 100_000_000_000][reader.below(4)];
        let mut scripts = vec![Vec::new(); SCRIPTS];
        let mut script = 0;
        while let Some(op) = reader.op(script) {
            let ops: &mut Vec<Op> = &mut scripts[script];
            ops.push(if script == 0 { roots(op) } else { op });
            if ops.len() == OPS_MAX || reader.below(7) == 6 {
                script += 1;
            }
            if script == SCRIPTS {
                break;
            }
        }
        scripts[0].push(Op::SleepUntil(horizon_ns));
        Self { scripts, tasks_per_cycle, capacities, horizon_ns, is_noted }
    }
}

/// The root must come to its end, and its panic leaves the loop.
fn roots(op: Op) -> Op {
    match op {
        Op::Send(channel) => Op::TrySend(channel),
        Op::Recv(channel) => Op::RecvWithin(channel, 1_000),
        Op::Join(task) => Op::DropHandle(task),
        Op::Panic => Op::Yield,
        other => other,
    }
}

/// What is left to read; zeros behind the end.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte().unwrap_or(0)) % count
    }

    /// Of every magnitude, and often equal to another one.
    fn ns(&mut self) -> u64 {
        let number = self.byte().unwrap_or(0);
        u64::from(number & 7) * [1, 1_000, 1 << 16, 5_000_000][usize::from(number >> 3 & 3)]
    }

    fn op(&mut self, script: usize) -> Option<Op> {
        let byte = usize::from(self.byte()?);
        // A script starts only those behind it, so that every program ends. The root starts most.
        if script + 1 < SCRIPTS && byte % if script == 0 { 2 } else { 8 } == 0 {
            let how = [How::Boxed, How::Slab, How::Any, How::Claim][self.below(4)];
            return Some(Op::Spawn(how, script + 1 + self.below(SCRIPTS - script - 1)));
        }
        Some(match byte / 2 % 22 {
            0 | 1 => Op::Yield,
            2 => Op::Sleep(self.ns()),
            3 => Op::SleepUntil(self.ns()),
            4 => Op::NextTick,
            5 => Op::At(self.below(STAGES)),
            6 => Op::Next(self.below(STAGES)),
            7 => Op::Send(self.below(CHANNELS)),
            8 => Op::TrySend(self.below(CHANNELS)),
            9 => Op::Recv(self.below(CHANNELS)),
            10 => Op::RecvWithin(self.below(CHANNELS), self.ns()),
            11 if self.below(4) == 0 => Op::Close(self.below(CHANNELS)),
            11..=13 => Op::Wake(self.below(TASKS_MAX)),
            14 => Op::WakeInStage(self.below(STAGES), self.below(TASKS_MAX)),
            15 => Op::WakeOnDrop(self.below(TASKS_MAX)),
            16 | 17 => Op::Abort(self.below(TASKS_MAX)),
            18 => Op::DropHandle(self.below(TASKS_MAX)),
            19 => Op::Join(self.below(TASKS_MAX)),
            20 => Op::Write,
            _ if self.below(3) == 0 => Op::Panic,
            _ => Op::Send(self.below(CHANNELS)),
        })
    }
}
