/* SPDX-License-Identifier: Apache-2.0 */
//! The Rust half of io.kvmirq.selftest.SelftestBench: the same round trip by rust-vmm's vmm-sys-util, in the same
//! process and on the same files. No object closes a file that Java owns.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

const PATIENCE_MILLIS: i32 = 5000;

type Jni = *mut c_void;

fn event_of(fd: i32) -> ManuallyDrop<EventFd> {
    // SAFETY: the caller keeps the file open, and ManuallyDrop does not close it.
    ManuallyDrop::new(unsafe { EventFd::from_raw_fd(fd) })
}

/// An epoll of the answers, as rust-vmm's event-manager has one. It is never closed. 0 if it cannot be had.
#[no_mangle]
pub extern "C" fn Java_io_kvmirq_selftest_SelftestBench_openInRust(_: Jni, _: Jni, answer: i32) -> i64 {
    let readable = EpollEvent::new(EventSet::IN, 0);
    let epoll = Epoll::new().and_then(|epoll| epoll.ctl(ControlOperation::Add, answer, readable).map(|()| epoll));
    epoll.map_or(0, |epoll| Box::into_raw(Box::new(epoll)) as i64)
}

/// A round trip: signal, wait, read. 1 if there was an answer.
#[no_mangle]
pub extern "C" fn Java_io_kvmirq_selftest_SelftestBench_tripInRust(
    _: Jni,
    _: Jni,
    epoll: i64,
    interrupt: i32,
    answer: i32,
) -> i32 {
    // SAFETY: openInRust made it.
    let epoll = unsafe { &*(epoll as *const Epoll) };
    let (interrupt, answer) = (event_of(interrupt), event_of(answer));
    let mut ready = [EpollEvent::default(); 1];
    let answered = interrupt.write(1).is_ok() && epoll.wait(PATIENCE_MILLIS, &mut ready).is_ok_and(|count| count == 1);
    i32::from(answered && answer.read().is_ok_and(|count| count == 1))
}
