//! Who owns an upload.

pub(super) struct Sessions {
    pub(super) parallel: usize,
}

impl Sessions {
    pub(super) fn new(parallel: usize) -> Self {
        Self { parallel }
    }
}
