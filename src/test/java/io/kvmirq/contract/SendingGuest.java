/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;

/**
 * A guest of x86 without an operating system: it gives a device on its PCI bus messages and makes it send them, for ever.
 * Its code is of 32 bits, without paging, and is generated. vCPU 0 has its LAPIC on and interrupts off.
 *
 * <p>Source: Intel SDM vol. 2; "The Linux/x86 Boot Protocol" in the kernel's documentation; NVM Express 1.4, 3.1; PCI 3.0, 6.
 */
final class SendingGuest {
    /** The first vector of the messages; that of the device's vector n is n higher. */
    static final int FIRST_VECTOR = 0x41;

    private static final int ADDRESS = 0x10, DATA = 0xcfc, SELECT = 0xcf8;
    private static final int REGISTERS = 0xfea0_0000, SECOND_BAR = 0xfea4_0000, TABLE = 0xfeb0_0000;
    private static final int LAPIC = 0xfee0_0000, SPURIOUS = LAPIC + 0xf0, LAPIC_ON = 0x1ff;
    private static final int MSI = 5, MSIX = 0x11;
    /** Turns of a loop between two messages. */
    private static final int TURNS = 300_000;

    // The image: a GDT, its register, and the code that follows
    private static final int GDT = 0x100, GDT_REGISTER = 0x140, ENTRY = 0x200;
    private static final String GDT_ENTRIES = "0000000000000000ffff0000009bcf00ffff00000093cf00";

    private final TestDevice device;
    private final ByteBuffer config;
    private final int slot;
    private final ByteBuffer code;

    private SendingGuest(TestDevice device, ByteBuffer config, int slot, int base, int bytes) {
        this.device = device;
        this.config = config;
        this.slot = slot;
        this.code = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
        hex(GDT, GDT_ENTRIES);
        code.putShort(GDT_REGISTER, (short) 0x17).putLong(GDT_REGISTER + 2, Integer.toUnsignedLong(base + GDT));
    }

    /** How many vectors it uses. */
    static int vectors(TestDevice device) {
        return device == TestDevice.E1000E ? 3 : 1;
    }

    /** The configuration space of a device of this machine. */
    static ByteBuffer config(TestDevice.Place place) throws IOException {
        return ByteBuffer.wrap(Files.readAllBytes(Path.of("/sys/bus/pci/devices", place.address(), "config")))
                .order(ByteOrder.LITTLE_ENDIAN);
    }

    /** Firmware of 64 KiB, for a VMM that begins at the reset vector. */
    static byte[] firmware(TestDevice device, ByteBuffer config, int slot) {
        SendingGuest guest = new SendingGuest(device, config, slot, 0xffff_0000, 0x1_0000);
        guest.hex(0xfff0, "e90d02"); // jmp to ENTRY
        // lgdt cs:GDT_REGISTER; cr0 |= 1; ljmp 8: behind this; ds = ss = 0x10
        guest.hex(ENTRY, "2e660f01164001" + "0f20c00c010f22c0" + "66ea");
        guest.code.putInt(0xffff_0000 + ENTRY + 23).putShort((short) 8);
        return guest.program();
    }

    /** A bzImage that is entered in 64-bit mode, and leaves that. */
    static byte[] image(TestDevice device, ByteBuffer config, int slot) {
        final int setup = 1024, length = 0x2000, preferred = 0x20_0000;
        SendingGuest guest = new SendingGuest(device, config, slot, preferred, length);
        // lgdt [GDT_REGISTER]; push 8; push behind this; lretq
        guest.hex(ENTRY, "0f011425");
        guest.code.putInt(preferred + GDT_REGISTER).putShort((short) 0x086a).put((byte) 0x68);
        guest.code.putInt(preferred + ENTRY + 17).putShort((short) 0xcb48);
        // cr0 &= ~PG; EFER &= ~LME
        guest.add("0f20c025ffffff7f0f22c0" + "b9800000c00f3225fffeffff0f30");
        ByteBuffer image = ByteBuffer.allocate(setup + length).order(ByteOrder.LITTLE_ENDIAN);
        image.put(0x1f1, (byte) 1).putInt(0x1f4, length / 16).putShort(0x1fe, (short) 0xaa55);
        image.putInt(0x202, 0x53726448).putShort(0x206, (short) 0x20f).putInt(0x22c, 0x7fff_ffff);
        image.putShort(0x236, (short) 1)
                .putInt(0x238, 255)
                .putLong(0x258, preferred)
                .putInt(0x260, length);
        return image.put(setup, guest.program()).array();
    }

    private void hex(int at, String bytes) {
        byte[] parsed = HexFormat.of().parseHex(bytes);
        code.put(at, parsed);
        code.position(at + parsed.length);
    }

    private void add(String bytes) {
        hex(code.position(), bytes);
    }

    /** {@code mov dword [address], value}. */
    private void store(int address, int value) {
        code.putShort((short) 0x05c7).putInt(address).putInt(value);
    }

    /** {@code mov eax, value; mov dx, port; out dx, eax}. */
    private void out(int port, int value) {
        code.put((byte) 0xb8)
                .putInt(value)
                .putShort((short) 0xba66)
                .putShort((short) port)
                .put((byte) 0xef);
    }

    private void configure(int register, int value) {
        out(SELECT, 1 << 31 | slot << 11 | register);
        out(DATA, value);
    }

    /** {@code mov ecx, TURNS; loop} to itself. */
    private void pause() {
        code.put((byte) 0xb9).putInt(TURNS).putShort((short) 0xfee2);
    }

    private int capability(int id) {
        int at = config.get(0x34) & 0xfc;
        while (at != 0 && config.get(at) != id) {
            at = config.get(at + 1) & 0xfc;
        }
        return at;
    }

    private byte[] program() {
        add("66b810008ed88ed0"); // ds = ss = 0x10
        store(SPURIOUS, LAPIC_ON);
        configure(ADDRESS, REGISTERS);
        if (device == TestDevice.NVME) {
            configure(ADDRESS + 4, 0);
        } else {
            configure(ADDRESS + 4, SECOND_BAR);
        }
        int msix = capability(MSIX);
        int table = REGISTERS;
        if (msix != 0) {
            int where = config.getInt(msix + 4);
            if ((where & 7) != 0) {
                configure(ADDRESS + 4 * (where & 7), TABLE);
                table = TABLE;
            }
            table += where & ~7;
        }
        configure(4, 6); // memory and bus master
        if (msix != 0) {
            for (int vector = 0; vector < vectors(device); vector++) {
                store(table + vector * 16, LAPIC);
                store(table + vector * 16 + 4, 0);
                store(table + vector * 16 + 8, FIRST_VECTOR + vector);
                store(table + vector * 16 + 12, 0);
            }
            configure(msix, 1 << 31);
        } else {
            int msi = capability(MSI);
            boolean is64 = (config.getShort(msi + 2) & 1 << 7) != 0;
            configure(msi + 4, LAPIC);
            configure(msi + 8, is64 ? 0 : FIRST_VECTOR);
            configure(msi + 12, is64 ? FIRST_VECTOR : 0);
            configure(msi, 1 << 16);
        }
        send();
        return code.array();
    }

    private void send() {
        if (device == TestDevice.NVME) {
            sendCompletions();
            return;
        }
        Hardware.Registers registers = (at, value) -> store(REGISTERS + at, value);
        Hardware hardware = device == TestDevice.EDU ? Hardware.edu(registers) : Hardware.e1000e(registers);
        hardware.start();
        int again = code.position();
        for (int vector = 0; vector < vectors(device); vector++) {
            hardware.send(vector);
            pause();
        }
        jump(again);
    }

    /** A queue of 16 commands of zeroes: each is refused, and its completion interrupts. */
    private void sendCompletions() {
        final int entries = 16, submissions = 0x40_0000, completions = 0x40_1000;
        final int configuration = 0x14, status = 0x1c, doorbells = 0x1000;
        store(REGISTERS + 0x24, entries - 1 << 16 | entries - 1);
        store(REGISTERS + 0x28, submissions);
        store(REGISTERS + 0x2c, 0);
        store(REGISTERS + 0x30, completions);
        store(REGISTERS + 0x34, 0);
        store(REGISTERS + configuration, 4 << 20 | 6 << 16 | 1);
        // 1: test dword [status], 1; jz 1b
        code.putShort((short) 0x05f7).putInt(REGISTERS + status).putInt(1).putShort((short) 0xf474);
        int again = code.position();
        for (int tail = 1; tail <= entries; tail++) {
            store(REGISTERS + doorbells, tail % entries);
            pause();
            store(REGISTERS + doorbells + 4, tail % entries);
        }
        jump(again);
    }

    private void jump(int to) {
        code.put((byte) 0xe9).putInt(to - code.position() - 4);
    }
}
