/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vmm;

import static io.kvmirq.testing.GuestAssembler.EOI;
import static io.kvmirq.testing.GuestAssembler.bytes;

import io.kvmirq.kernel.Mapping;

/** Three vCPUs that count each vector and acknowledge it at a doorbell or a port. */
final class StormGuest {
    private static final String LAPIC_ON = "mov ecx, 0x80f; xor edx, edx; mov eax, 0x1ff; wrmsr;";
    private static final String ID_TO_SI = "mov ecx, 0x802; rdmsr; mov si, ax;";

    private static final String BOOT = "cli;"
            + config("0x80000800", "0xcfc", "in eax, dx; mov [0x500], eax;") // the IDs of slots 1 and 2
            + config("0x80001000", "0xcfc", "in eax, dx; mov [0x504], eax;")
            + config("0x80000810", "0xcfc", "mov eax, 0xd0000; out dx, eax;") // BAR 0, then memory and bus master
            + config("0x80000804", "0xcfc", "mov ax, 6; out dx, ax;")
            + config("0x80000814", "0xcfc", "mov eax, 0xc100; out dx, eax;") // BAR 1, then ports too
            + config("0x80000804", "0xcfc", "mov ax, 7; out dx, ax;")
            // the table of MSI-X at ES: vectors from 0x60 on of vCPU 0
            + "xor si, si; mov eax, 0xfee00000; mov ebx, 0x60; entry: mov es:[si+0x200], eax; xor edx, edx;"
            + "mov es:[si+0x204], edx; mov es:[si+0x208], ebx; mov es:[si+0x20c], edx;"
            + "add ebx, 1; add si, 0x10; cmp si, 0x40; jne entry;"
            + config("0x80000840", "0xcfe", "mov ax, 0x8000; out dx, ax;") // MSI-X on
            + LAPIC_ON
            // INIT and start-up of vCPUs 1 and 2, at 0x3000
            + "mov ecx, 0x830; mov edx, 1; mov eax, 0x4500; wrmsr; mov eax, 0x4603; wrmsr;"
            + "mov edx, 2; mov eax, 0x4500; wrmsr; mov eax, 0x4603; wrmsr;"
            + "mov al, 0x62; mov dx, 0x3f8; out dx, al; mov al, 1; mov [0x590], al; idle: sti; hlt; jmp idle";

    private StormGuest() {}

    private static String config(String register, String port, String access) {
        return "mov dx, 0xcf8; mov eax, " + register + "; out dx, eax; mov dx, " + port + ";" + access;
    }

    /** Acknowledges at a doorbell, at a port, or, of the lines, by a read before the EOI. */
    private static String acknowledge(int source) {
        if (source == StormMachine.LINE || source == StormMachine.PASSED_LINE) {
            return "mov dx, %d; in al, dx;".formatted(0x100 + source) + EOI;
        }
        return EOI
                + (source < StormMachine.EMULATED
                        ? "mov dx, %d; out dx, eax;".formatted(0xc100 + 4 * source)
                        : "mov dx, %d; out dx, al;".formatted(0x100 + source));
    }

    static void load(Mapping memory) {
        memory.put(0x1000, bytes(BOOT));
        for (int source = 0; source < StormMachine.SOURCES; source++) {
            String count = "shl si, 6; inc dword [si+%d];".formatted(0x600 + 4 * source);
            memory.put(
                    0x2000 + 0x80 * source, bytes("pushad;" + ID_TO_SI + count + acknowledge(source) + "popad; iret"));
        }
        memory.put(0x2000 + 0x80 * StormMachine.RESET, bytes("mov al, 0xfe; out 0x64, al; idle: cli; hlt; jmp idle"));
        memory.put(
                0x3000,
                bytes("cli;" + LAPIC_ON + ID_TO_SI + "shl ax, 10; add ax, 0x7000; mov sp, ax; mov al, 1;"
                        + "mov [si+0x590], al; idle: sti; hlt; jmp idle"));
    }
}
