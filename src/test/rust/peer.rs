/* SPDX-License-Identifier: Apache-2.0 */
//! The Rust half of io.kvmirq.selftest.PeerBench: the same work by rust-vmm's kvm-ioctls and vmm-sys-util, in the same
//! process and on the same files, written as a VMM in Rust writes it.
//!
//! Each function makes the objects it needs before it starts its clock, and returns nanoseconds, or the negative line
//! number of what failed. No object closes a file that Java owns.

use kvm_bindings::{kvm_device_attr, kvm_irq_routing, kvm_irq_routing_entry, kvm_msi, KVM_IRQ_ROUTING_MSI};
use kvm_ioctls::{DeviceFd, Kvm, VmFd};
use std::ffi::c_void;
use std::io;
use std::mem::{size_of, ManuallyDrop};
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::Instant;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

const MSI_ADDRESS: u32 = 0xfee0_0000;
const VECTOR: u32 = 0x31;
const PATIENCE_MILLIS: i32 = 5000;

type Jni = *mut c_void;

macro_rules! ok {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(_) => return -i64::from(line!()),
        }
    };
}

fn vm_of(fd: i32) -> Result<ManuallyDrop<VmFd>, kvm_ioctls::Error> {
    // SAFETY: the caller keeps the file open, and ManuallyDrop does not close it.
    Ok(ManuallyDrop::new(unsafe { Kvm::new()?.create_vmfd_from_rawfd(fd)? }))
}

fn event_of(fd: i32) -> ManuallyDrop<EventFd> {
    // SAFETY: the caller keeps the file open, and ManuallyDrop does not close it.
    ManuallyDrop::new(unsafe { EventFd::from_raw_fd(fd) })
}

fn nanos(start: Instant) -> i64 {
    start.elapsed().as_nanos() as i64
}

#[no_mangle]
pub extern "C" fn Java_io_kvmirq_selftest_PeerBench_signalInRust(_: Jni, _: Jni, fd: i32, calls: i32) -> i64 {
    let event = event_of(fd);
    let start = Instant::now();
    for _ in 0..calls {
        ok!(event.write(1));
    }
    nanos(start)
}

#[no_mangle]
pub extern "C" fn Java_io_kvmirq_selftest_PeerBench_drainInRust(_: Jni, _: Jni, fd: i32, calls: i32) -> i64 {
    let event = event_of(fd);
    let start = Instant::now();
    for _ in 0..calls {
        ok!(event.read());
    }
    nanos(start)
}

#[no_mangle]
pub extern "C" fn Java_io_kvmirq_selftest_PeerBench_lineInRust(_: Jni, _: Jni, vm: i32, gsi: i32, calls: i32) -> i64 {
    let vm = ok!(vm_of(vm));
    let start = Instant::now();
    for i in 0..calls {
        ok!(vm.set_irq_line(gsi as u32, i & 1 != 0));
    }
    nanos(start)
}

#[no_mangle]
pub extern "C" fn Java_io_kvmirq_selftest_PeerBench_messageInRust(_: Jni, _: Jni, vm: i32, calls: i32) -> i64 {
    let vm = ok!(vm_of(vm));
    let start = Instant::now();
    for _ in 0..calls {
        let message = kvm_msi { address_lo: MSI_ADDRESS, data: VECTOR, ..Default::default() };
        if ok!(vm.signal_msi(message)) != 1 {
            return -i64::from(line!());
        }
    }
    nanos(start)
}

#[no_mangle]
pub extern "C" fn Java_io_kvmirq_selftest_PeerBench_attributeInRust(
    _: Jni,
    _: Jni,
    device: i32,
    group: i32,
    attribute: i64,
    calls: i32,
) -> i64 {
    // SAFETY: the caller keeps the file open, and ManuallyDrop does not close it.
    let device = ManuallyDrop::new(unsafe { DeviceFd::from_raw_fd(device) });
    let start = Instant::now();
    for _ in 0..calls {
        let asked = kvm_device_attr { group: group as u32, attr: attribute as u64, ..Default::default() };
        ok!(device.has_device_attr(&asked));
    }
    nanos(start)
}

/// Round trips: signal, wait on an epoll as rust-vmm's event-manager does, read. Ends early if an answer is late.
#[no_mangle]
pub extern "C" fn Java_io_kvmirq_selftest_PeerBench_tripsInRust(
    _: Jni,
    _: Jni,
    interrupt: i32,
    answer: i32,
    trips: i32,
) -> i64 {
    let (interrupt, answer) = (event_of(interrupt), event_of(answer));
    let epoll = ok!(Epoll::new());
    let readable = EpollEvent::new(EventSet::IN, 0);
    ok!(epoll.ctl(ControlOperation::Add, answer.as_raw_fd(), readable));
    let mut ready = [EpollEvent::default(); 1];
    let start = Instant::now();
    for _ in 0..trips {
        ok!(interrupt.write(1));
        if ok!(epoll.wait(PATIENCE_MILLIS, &mut ready)) != 1 || ok!(answer.read()) != 1 {
            return -i64::from(line!());
        }
    }
    nanos(start)
}

fn commit(vm: &VmFd, entries: &[kvm_irq_routing_entry]) -> Result<(), kvm_ioctls::Error> {
    // The array follows the header: in whole headers, as Firecracker and Cloud Hypervisor allocate it.
    let headers = 1 + (size_of::<kvm_irq_routing_entry>() * entries.len()).div_ceil(size_of::<kvm_irq_routing>());
    let mut table: Vec<kvm_irq_routing> = Vec::with_capacity(headers);
    table.resize_with(headers, Default::default);
    table[0].nr = entries.len() as u32;
    // SAFETY: the vector has room for that many entries behind its first header.
    unsafe { table[0].entries.as_mut_slice(entries.len()) }.copy_from_slice(entries);
    vm.set_gsi_routing(&table[0])
}

fn entry_of(gsi: u32) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry { gsi, type_: KVM_IRQ_ROUTING_MSI, ..Default::default() };
    entry.u.msi.address_lo = MSI_ADDRESS;
    entry.u.msi.data = VECTOR;
    entry
}

/// One commit for all, or one after each as Cloud Hypervisor does for MSI-X.
fn attach(vm: &VmFd, gsis: Range<u32>, singly: bool) -> Result<Vec<EventFd>, io::Error> {
    let mut events = Vec::with_capacity(gsis.len());
    let mut entries = Vec::with_capacity(gsis.len());
    for gsi in gsis {
        let event = EventFd::new(EFD_NONBLOCK)?;
        entries.push(entry_of(gsi));
        if singly {
            commit(vm, &entries)?;
            vm.register_irqfd(&event, gsi)?;
        }
        events.push(event);
    }
    if !singly {
        commit(vm, &entries)?;
        for (event, entry) in events.iter().zip(&entries) {
            vm.register_irqfd(event, entry.gsi)?;
        }
    }
    Ok(events)
}

#[no_mangle]
pub extern "C" fn Java_io_kvmirq_selftest_PeerBench_attachInRust(
    _: Jni,
    _: Jni,
    vm: i32,
    first: i32,
    count: i32,
    singly: u8,
) -> i64 {
    let vm = ok!(vm_of(vm));
    let start = Instant::now();
    let events = ok!(attach(&vm, first as u32..(first + count) as u32, singly != 0));
    let took = nanos(start);
    drop(events);
    took
}
