//! Files that stand where a model or its data should be.

/// What a file is in truth, and how to get what it stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StandIn {
    /// What it is, as the end of a sentence.
    pub is: &'static str,
    /// What to do about it.
    pub hint: &'static str,
}

const POINTER: StandIn = StandIn {
    is: "a Git LFS pointer, the text that stands for a file until it is fetched",
    hint: "run `git lfs pull` in its folder, or download the file itself",
};

const PAGE: StandIn = StandIn {
    is: "a web page",
    hint: "download the raw file, as the download button of the site does",
};

/// The stand-in that a file's content is, if it is one.
pub(crate) fn stand_in(content: &[u8]) -> Option<StandIn> {
    if content.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Some(POINTER);
    }
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content).trim_ascii_start();
    let begins =
        |with: &[u8]| content.get(..with.len()).is_some_and(|c| c.eq_ignore_ascii_case(with));
    (begins(b"<!doctype html") || begins(b"<html")).then_some(PAGE)
}
