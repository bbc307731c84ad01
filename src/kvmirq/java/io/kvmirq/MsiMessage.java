/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import java.util.Objects;
import java.util.OptionalInt;

/**
 * A message-signalled interrupt (MSI): the address to which a device writes, and the data.
 *
 * <p>Source: Intel SDM volume 3, 11.11; {@code struct kvm_msi} and {@code kvm_irq_routing_msi} in linux/kvm.h.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="routes"}
 *
 * @param address 64 bits. On x86, bits [31:20] are 0xFEE, and bits [19:12] are the destination's low 8 bits. In a VM
 *     with {@code KVM_X2APIC_API_USE_32BIT_IDS}, bits [63:40] are the destination's high 24 bits
 * @param data 32 bits. On x86, bits [7:0] are the vector, [10:8] the delivery mode and [15] the trigger mode. For an
 *     ITS, this is the event id
 * @param deviceId 32 bits: the device id for an ARM guest's ITS, which refuses a message without one. A PCI device's id
 *     is its requester id (bus, device, function). Empty on x86
 */
public record MsiMessage(long address, int data, OptionalInt deviceId) {
    public MsiMessage {
        Objects.requireNonNull(deviceId, "deviceId is null");
    }

    /** The first guest-physical MSI address on x86, which is also the LAPIC's register base after a reset. */
    public static final long X86_WINDOW = 0xfee0_0000L;

    /** The maximum number of vectors of a PCI function, from MSI-X's 11-bit table size. Source: PCI 3.0, 6.8.2.3. */
    public static final int MOST_VECTORS = 2048;

    private static final int BROADCAST = 0xff;
    private static final int DELIVERY_NMI = 4 << 8;
    /** Delivery mode bits that are 0 for fixed and lowest priority. */
    private static final int MODES_WITHOUT_VECTOR = 6 << 8;

    private static final int FIRST_LEGAL_VECTOR = 16;
    /** The largest width of a guest-physical address in bits. */
    private static final int ITS_ADDRESS_BITS = 52;

    private static final long ITS_PAGE = 0x1_0000;
    private static final long GITS_TRANSLATER = 0x1_0040;

    /** Makes a message without a device id. */
    public MsiMessage(long address, int data) {
        this(address, data, OptionalInt.empty());
    }

    /**
     * Makes a fixed, edge-triggered message whose physical destination is one vCPU. For a vCPU id above 255, call
     * {@code X86Vm.use32BitApicIds} first. Otherwise the kernel reads only the id's low 8 bits and delivers the message
     * to another vCPU.
     *
     * @throws IllegalArgumentException for vCPU 255, whose APIC id is the broadcast id (use {@code
     *     X86Vm.x2apicMessage}), or for a vector below 16, which no LAPIC delivers
     */
    public static MsiMessage to(VcpuId vcpu, InterruptVector vector) {
        Objects.requireNonNull(vector, "vector is null");
        MsiMessage message = new MsiMessage(x86Address(vcpu), vector.number());
        if (message.hasIllegalVector()) {
            throw new IllegalArgumentException(vector + " is not valid in a message to " + vcpu
                    + ": a LAPIC reports an error and delivers nothing for 0 to 15; devices use vectors 32 to 255");
        }
        return message;
    }

    /**
     * Makes a message that raises an NMI on one vCPU, which wakes it from HLT even while interrupts are disabled.
     *
     * @throws IllegalArgumentException for vCPU 255, whose APIC id is the broadcast id
     */
    public static MsiMessage nmiTo(VcpuId vcpu) {
        return new MsiMessage(x86Address(vcpu), DELIVERY_NMI);
    }

    /**
     * Makes a message that writes {@code eventId} to GITS_TRANSLATER of an ARM ITS. The guest's ITS commands map this
     * event of the device to an LPI and a vCPU.
     *
     * @param address the guest-physical address of the ITS, a multiple of 64 KiB below 2^52
     * @throws IllegalArgumentException for any other {@code address}
     */
    public static MsiMessage toIts(long address, int deviceId, int eventId) {
        if (address % ITS_PAGE != 0 || address >>> ITS_ADDRESS_BITS != 0) {
            throw new IllegalArgumentException("an ITS at 0x" + Long.toHexString(address)
                    + " is invalid: expected its first address, a multiple of 0x" + Long.toHexString(ITS_PAGE)
                    + " below 2^" + ITS_ADDRESS_BITS);
        }
        return new MsiMessage(address + GITS_TRANSLATER, eventId, OptionalInt.of(deviceId));
    }

    private static long x86Address(VcpuId vcpu) {
        Objects.requireNonNull(vcpu, "vcpu is null");
        long id = vcpu.number();
        if (id == BROADCAST) {
            throw new IllegalArgumentException(
                    "vcpu 255 cannot be the destination of a message: APIC id 255 is the broadcast; leave that id out, or"
                            + " use X86Vm.x2apicMessage for a guest in x2APIC mode");
        }
        return (id & ~0xffL) << 32 | X86_WINDOW | (id & 0xff) << 12;
    }

    /**
     * Whether an x86 LAPIC reports an error instead of delivering this message, because the delivery mode is fixed or
     * lowest priority and the vector is below 16. A guest can still write such a message to a device's MSI-X table.
     */
    public boolean hasIllegalVector() {
        return (data & MODES_WITHOUT_VECTOR) == 0 && (data & 0xff) < FIRST_LEGAL_VECTOR;
    }

    @Override
    public String toString() {
        String text = "msi 0x" + Long.toHexString(address) + "/0x" + Integer.toHexString(data);
        return deviceId.isPresent() ? text + " device 0x" + Integer.toHexString(deviceId.getAsInt()) : text;
    }
}
