/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import io.kvmirq.testing.Machine;
import io.kvmirq.uapi.Uapi;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/** The calls, with the names of their arguments; {@code to} is the number that a new descriptor gets. */
enum Operation {
    OPEN("to", "path"),
    CLOSE("fd"),
    DUP("to", "fd"),
    EPOLL("to"),
    EPOLL_CTL("fd", "ctl", "event", "events"),
    EPOLL_WAIT("fd", "most"),
    EVENTFD("to", "count", "flags"),
    WRITE("fd", "value", "length"),
    READ("fd", "length"),
    READ_NOWAIT("fd", "length"),
    POLL("fd", "events", "nanos"),
    CREATE_VM("to", "fd", "type"),
    CHECK_EXTENSION("fd", "cap"),
    CREATE_IRQCHIP("fd"),
    /** KVM_ENABLE_CAP, as are the next two. */
    SPLIT_IRQCHIP("fd", "pins", "flags"),
    X2APIC_API("fd", "bits", "flags"),
    ENABLE_CAP("fd", "cap", "flags"),
    CREATE_VCPU("to", "fd", "id"),
    /** Any number of entries of six numbers follow. */
    ROUTING("fd", "nr", "flags", "gsi", "type", "entryFlags", "u0", "u1", "u2"),
    IRQFD("fd", "event", "gsi", "assign", "resample"),
    IOEVENTFD("fd", "event", "address", "length", "flags", "datamatch"),
    SIGNAL_MSI("fd", "address", "high", "data", "flags"),
    IRQ_LINE("fd", "gsi", "level"),
    IRQ_LINE_STATUS("fd", "gsi", "level"),
    GET_IRQCHIP("fd", "chip"),
    /** Reads the state, puts a value (8 bytes of the IOAPIC's, 1 of a PIC's) at an offset, and writes it back. */
    SET_IRQCHIP("fd", "chip", "offset", "value"),
    GET_LAPIC("fd"),
    /** Reads the registers, puts 4 bytes at an offset, and writes them back. */
    SET_LAPIC("fd", "register", "value"),
    GET_MP_STATE("fd"),
    SET_MP_STATE("fd", "state"),
    /** Runs {@link GuestRun} on a vCPU with LAPIC until it has taken what waits. */
    RUN("fd"),
    CREATE_DEVICE("to", "fd", "type", "flags"),
    /** {@code file} is a descriptor's number in memory, or {@link Side#NOWHERE}. */
    SET_ATTR("fd", "group", "attr", "file"),
    HAS_ATTR("fd", "group", "attr", "file"),
    GET_ATTR("fd", "group", "attr", "file"),
    /** {@code user} counts from the start of some memory, or is {@link Side#NOWHERE}. */
    MEMORY("fd", "slot", "flags", "guest", "size", "user"),
    /** Any request, with an argument that is no address. */
    IOCTL("fd", "request", "argument"),

    // The processor; a structure is read, changed at an offset, and written back
    GET_REGS("fd"),
    SET_REGS("fd", "register", "value"),
    GET_SREGS("fd"),
    SET_SREGS("fd", "offset", "width", "value"),
    GET_EVENTS("fd"),
    SET_EVENTS("fd", "valid", "offset", "value"),
    GET_DEBUG("fd"),
    SET_DEBUG("fd", "offset", "value"),
    GET_XCRS("fd"),
    SET_XCRS("fd", "count", "xcr", "value"),
    GET_MSR("fd", "msr"),
    SET_MSR("fd", "msr", "value"),
    GET_CPUID("fd", "count"),
    /** Any number of leaves of three numbers follow. */
    SET_CPUID("fd", "leaf", "eax", "ecx"),
    INTERRUPT("fd", "vector"),
    NMI("fd"),
    /** A program for {@link ProgramRun}: {@code end} is how its handlers end an interrupt; instructions follow. */
    LOAD("fd", "end", "instruction"),
    /** KVM_RUN of that program to its next exit. */
    CONTINUE("fd", "run", "answer"),

    // arm64; a value of 64 bits is in memory, or Side.NOWHERE is its address
    /** {@code features} is the first word of them. */
    VCPU_INIT("fd", "target", "features"),
    FINALIZE("fd", "value"),
    /** {@code room} is a number of registers. */
    LIST_REGISTERS("fd", "room"),
    GET_REGISTER("fd", "id", "value"),
    SET_REGISTER("fd", "id", "value"),
    SIGNALS("fd", "length", "set"),
    GET_VALUE("fd", "group", "number", "value"),
    SET_VALUE("fd", "group", "number", "value"),
    /** A slot of the VM for the tables of {@link VgicSteps}. */
    TABLES("fd"),
    /** Words of a command in the ring there; no call. */
    COMMAND("number", "w0", "w1", "w2"),

    // VFIO; device is a number of VfioSide
    OPEN_CONTAINER("to"),
    OPEN_GROUP("to", "device"),
    GET_DEVICE("to", "fd", "device"),
    SET_CONTAINER("fd", "file"),
    UNSET_CONTAINER("fd"),
    SET_IOMMU("fd", "type"),
    GROUP_STATUS("fd"),
    MAP_DMA("fd", "flags", "iova", "size", "user"),
    UNMAP_DMA("fd", "flags", "iova", "size"),
    DEVICE_INFO("fd", "argsz"),
    REGION_INFO("fd", "argsz", "index"),
    IRQ_INFO("fd", "argsz", "index"),
    /** {@code extra} is added to the argsz that is right; descriptors or bytes follow. */
    SET_IRQS("fd", "index", "flags", "start", "count", "extra"),
    RESET("fd"),
    /** {@code capability} is an id, or one of {@link VfioSide}; the bits of {@code mask} are compared. */
    READ_CONFIG("fd", "capability", "offset", "width", "mask"),
    WRITE_CONFIG("fd", "capability", "offset", "width", "value"),
    /** The content is compared if {@code shown} is 1. {@code length} 0 is no access. */
    READ_REGION("fd", "region", "offset", "length", "shown"),
    WRITE_REGION("fd", "region", "offset", "length"),
    /** read(2) of the file's position, whose content is not compared. */
    READ_FILE("fd", "length"),
    MAP_FILE("fd", "region", "offset", "length", "flags"),
    HOT_RESET_INFO("fd", "argsz"),
    /** Descriptors follow. */
    HOT_RESET("fd", "argsz", "flags", "count"),
    VFIO_EXTENSION("fd", "extension"),
    IOMMU_INFO("fd", "argsz");

    /** Where the data of {@link #SET_IRQS} begins. */
    static final int DATA_AT = 6;

    /** Where the descriptors of {@link #HOT_RESET} begin. */
    static final int GROUPS_AT = 4;

    /** Calls of KVM on x86 only, or that run a guest, which on arm64 is not modelled. */
    private static final Set<Operation> OF_X86 = EnumSet.of(
            SPLIT_IRQCHIP,
            X2APIC_API,
            GET_IRQCHIP,
            SET_IRQCHIP,
            GET_LAPIC,
            SET_LAPIC,
            RUN,
            GET_REGS,
            SET_REGS,
            GET_SREGS,
            SET_SREGS,
            GET_EVENTS,
            SET_EVENTS,
            GET_DEBUG,
            SET_DEBUG,
            GET_XCRS,
            SET_XCRS,
            GET_MSR,
            SET_MSR,
            GET_CPUID,
            SET_CPUID,
            INTERRUPT,
            NMI,
            LOAD,
            CONTINUE);

    static final int ROUTE_AT = 3;
    static final int ROUTE_SIZE = 6;
    /** The numbers of a leaf of {@link #SET_CPUID}. */
    static final int LEAF_SIZE = 3;

    @SuppressWarnings("ImmutableEnumChecker") // made by List.of
    private final List<String> parameters;

    Operation(String... parameters) {
        this.parameters = List.of(parameters);
    }

    /** Whether a search on this machine's architecture makes it. */
    boolean isSearched() {
        return Machine.isX86() ? !isOfArm64() : !OF_X86.contains(this);
    }

    /** Whether it is of {@link ArmSide}. */
    boolean isOfArm64() {
        return compareTo(CONTINUE) > 0 && compareTo(OPEN_CONTAINER) < 0;
    }

    /** Whether it is of {@link VcpuSide}. */
    boolean isOfProcessor() {
        return compareTo(GET_REGS) >= 0 && compareTo(LOAD) < 0;
    }

    /** Whether it is more than a call, of which the fake may not model a part. */
    boolean isManyCalls() {
        return this == RUN || this == LOAD || this == CONTINUE;
    }

    boolean isVfio() {
        return compareTo(OPEN_CONTAINER) >= 0;
    }

    boolean opensVfio() {
        return this == OPEN_CONTAINER || this == OPEN_GROUP || this == GET_DEVICE;
    }

    /** The kind of argument {@code index}. */
    String parameter(int index) {
        if (this == SET_IRQS && index >= DATA_AT || this == HOT_RESET && index >= GROUPS_AT) {
            return "file";
        }
        if (index < parameters.size()) {
            return parameters.get(index);
        }
        return switch (this) {
            case LOAD -> parameters.get(parameters.size() - 1);
            case SET_CPUID -> parameters.get(1 + (index - 1) % LEAF_SIZE);
            default -> parameters.get(ROUTE_AT + (index - ROUTE_AT) % ROUTE_SIZE);
        };
    }

    /** The outcome of a call: a word for a result that tells more than {@code ok}, else the errno's name. */
    String outcome(Answer answer) {
        if (answer.isError()) {
            // The vCPU has received no start-up message.
            return this == CONTINUE && answer.text().equals("EAGAIN") ? "waits" : answer.text();
        }
        return switch (this) {
            case SIGNAL_MSI -> answer.result() > 0 ? "delivered" : "blocked";
            case IRQ_LINE_STATUS -> status(answer.output().getInt(Uapi.KvmIrqLevel.IRQ));
            case RUN -> GuestRun.outcome(answer);
            case CONTINUE -> ProgramRun.outcome(answer);
            case EPOLL_WAIT -> answer.result() > 0 ? "ready" : "idle";
            case GET_MSR, SET_MSR -> answer.result() > 0 ? "ok" : "stopped";
            case POLL -> readiness(answer.output().getShort(Uapi.Pollfd.REVENTS));
            default -> "ok";
        };
    }

    private static String status(int status) {
        return status > 0 ? "delivered" : status == 0 ? "coalesced" : "ignored";
    }

    private static String readiness(int events) {
        return events == 0 ? "idle" : events == Uapi.POLLNVAL ? "POLLNVAL" : "ready";
    }
}
