//! Waiting until a descriptor can be read, without blocking the runtime.
//!
//! tokio's registration is `unsafe`, since it cannot know whether the value given to it keeps its descriptor open.
//! This module is the one place where that promise is made, for the types that do.
#![expect(unsafe_code, reason = "AsyncFd::register_with_interest")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// A type that owns its descriptor and offers no way to close or exchange it through a shared reference.
pub(crate) trait OwnsDescriptor: AsRawFd {}

impl OwnsDescriptor for OwnedFd {}
impl OwnsDescriptor for Socket {}

/// A descriptor watched for readability.
#[derive(Debug)]
pub(crate) struct ReadyFd<T: OwnsDescriptor>(AsyncFd<T>);

impl<T: OwnsDescriptor> ReadyFd<T> {
    /// Must be called inside a tokio runtime.
    pub(crate) fn new(inner: T) -> io::Result<Self> {
        // SAFETY: `inner` owns its descriptor, so it is open now and stays open, under the same number, until it is
        // dropped. It is moved into the `AsyncFd` and this type hands out shared references only, through which
        // the implementors of `OwnsDescriptor` can neither close nor exchange it.
        let registered = unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) };
        Ok(Self(registered.map_err(|error| error.into_parts().1)?))
    }

    pub(crate) fn get(&self) -> &T {
        self.0.get_ref()
    }

    pub(crate) async fn readable(&self) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        self.0.readable().await
    }
}
