/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.Vcpu;
import java.util.HexFormat;

/** A guest of 16 bits, for a KVM that cannot boot Linux: it says hello, and its handler answers the device. */
final class SmallGuest {
    private static final InterruptVector VECTOR = new InterruptVector(0x33);
    /** The device's interrupt: this guest has no driver for an IOAPIC. */
    static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), VECTOR);
    // Its short instructions reach these
    static final int CONSOLE = 0x78, DEVICE = 0x68;
    private static final int START = 0x1000, HANDLER = 0x2000, STACK = 0x8000;

    static void start(Mapping memory, Vcpu vcpu) {
        // IA32_APIC_BASE: x2APIC, so that the LAPIC's registers are MSRs. SVR: the LAPIC is on
        String code = "66b91b0000000f32660d000c00000f30" + "66b90f08000066b8ff0100006631d20f30";
        for (char letter : "hello from 16 bits\n".toCharArray()) {
            code += out(letter, CONSOLE);
        }
        code += out(1, DEVICE + 1) + out('G', DEVICE) + "fbf4ebfd"; // interrupts on data; begin; sti; hlt for ever
        // pushal; in IIR; in DATA; out DATA, the doorbell; in IIR; EOI; popal; iret
        String handler = "6660e4%2$02xe4%1$02xe6%1$02xe4%2$02x66b90b0800006631c06631d20f306661cf";
        memory.put(START, HexFormat.of().parseHex(code));
        memory.put(HANDLER, HexFormat.of().parseHex(String.format(handler, DEVICE, DEVICE + 2)));
        memory.putInt(VECTOR.number() * Integer.BYTES, HANDLER);
        vcpu.x86().startAt(START, STACK);
    }

    /** {@code mov $value, %eax; out %al, $port}. */
    private static String out(int value, int port) {
        return String.format("66b8%02x000000e6%02x", value, port);
    }
}
