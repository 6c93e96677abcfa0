//! Gigabytes to a file, beside the work that makes them.
//!
//! A large file is written in blocks by a second thread, past the page cache where the file system
//! allows it: in the cache its pages would only push out the source's, and wait for the sync.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

/// From this length on a file is written in blocks, in bytes.
const LARGE: u64 = 256 << 20;

/// How much goes to the disk at once, in bytes: a multiple of [`ALIGNMENT`].
const BLOCK: usize = 8 << 20;

/// One is being filled, one waits, one is being written.
const BLOCKS: usize = 3;

/// What a disk wants addresses, offsets and lengths to be multiples of, in bytes.
const ALIGNMENT: usize = 4096;

/// Writes what `fill` makes, about `length` bytes, to an empty file.
pub(super) fn write<T>(
    file: &File,
    length: u64,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> io::Result<T> {
    if length >= LARGE {
        return in_blocks(file, fill);
    }
    let mut file = BufWriter::with_capacity(1 << 16, file);
    let result = fill(&mut file)?;
    file.flush()?;
    Ok(result)
}

fn in_blocks<T>(file: &File, fill: impl FnOnce(&mut dyn Write) -> io::Result<T>) -> io::Result<T> {
    let (full, to_write) = sync_channel::<Block>(BLOCKS);
    let (written, empty) = sync_channel(BLOCKS);
    (1..BLOCKS).for_each(|_| drop(written.send(Block::new())));
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut disk = Disk::new(file);
            for mut block in to_write {
                disk.write(block.filled())?;
                block.length = 0;
                // Nobody takes it once everything is filled.
                let _ = written.send(block);
            }
            disk.end()
        });
        let mut blocks = Blocks { current: Block::new(), full, empty };
        let filled = fill(&mut blocks);
        let last = blocks.end();
        let wrote = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Where the writer failed, the others failed for want of it.
        wrote.and(filled).and_then(|result| last.map(|()| result))
    })
}

/// Memory that a disk can write from.
struct Block {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Block {
    fn new() -> Self {
        let memory = vec![0; BLOCK + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Block { memory, start, length: 0 }
    }

    fn filled(&self) -> &[u8] {
        &self.memory[self.start..][..self.length]
    }

    /// Takes as many of the bytes as it has room for.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let room = &mut self.memory[self.start..][self.length..BLOCK];
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.length += taken;
        taken
    }
}

/// Fills one block after another.
struct Blocks {
    current: Block,
    full: SyncSender<Block>,
    empty: Receiver<Block>,
}

impl Blocks {
    fn end(self) -> io::Result<()> {
        self.full.send(self.current).map_err(|_| stopped())
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.length == BLOCK {
            let next = self.empty.recv().map_err(|_| stopped())?;
            let full = std::mem::replace(&mut self.current, next);
            self.full.send(full).map_err(|_| stopped())?;
        }
        Ok(self.current.take(bytes))
    }

    /// Blocks go to the disk when they are full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stopped() -> io::Error {
    io::Error::other("the thread that writes the file has stopped")
}

/// A file that is written past the page cache while that is possible.
struct Disk<'f> {
    file: &'f File,
    direct: bool,
}

impl<'f> Disk<'f> {
    fn new(file: &'f File) -> Self {
        Disk { file, direct: set_direct(file, true).is_ok() }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (whole, rest) = bytes.split_at(bytes.len() / ALIGNMENT * ALIGNMENT);
        match self.file.write_all(whole) {
            // Some file systems take the flag and refuse the write.
            Err(e) if self.direct && e.kind() == io::ErrorKind::InvalidInput => {
                self.end()?;
                self.file.write_all(whole)?;
            }
            written => written?,
        }
        if rest.is_empty() {
            return Ok(());
        }
        self.end()?;
        self.file.write_all(rest)
    }

    /// What follows goes through the page cache.
    fn end(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.direct) { set_direct(self.file, false) } else { Ok(()) }
    }
}

#[cfg(target_os = "linux")]
fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    Ok(fcntl_setfl(file, flags)?)
}

#[cfg(not(target_os = "linux"))]
fn set_direct(_: &File, _: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Seek as _};

    /// Lengths around the edges of pages and blocks, in pieces that fit neither.
    #[test]
    fn what_is_written_in_blocks_can_be_read_again() {
        for length in [0, 1, ALIGNMENT, BLOCK - 1, BLOCK, BLOCK + 1, 4 * BLOCK + ALIGNMENT + 5] {
            let bytes: Vec<u8> = (0..length).map(|i| (i / 7 % 251) as u8).collect();
            let mut file = tempfile::tempfile_in(".").expect("the folder takes files");
            let fill = |file: &mut dyn Write| {
                bytes.chunks(1_000_003).try_for_each(|piece| file.write_all(piece))
            };
            in_blocks(&file, fill).expect("the file can be written");
            let mut read = Vec::new();
            file.rewind().and_then(|()| file.read_to_end(&mut read)).expect("it can be read");
            assert!(read == bytes, "{length} bytes came back otherwise");
        }
    }

    #[test]
    fn a_writer_that_fails_says_why() {
        let file = tempfile::NamedTempFile::new().expect("there is a folder for temporary files");
        let read_only = File::open(file.path()).expect("it can be opened");
        let fill = |file: &mut dyn Write| (0..5).try_for_each(|_| file.write_all(&vec![1; BLOCK]));
        let error = in_blocks(&read_only, fill).expect_err("it is read-only");
        assert!(error.raw_os_error().is_some(), "{error}");
    }
}
