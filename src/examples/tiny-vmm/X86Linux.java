/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.X86Registers;
import io.kvmirq.kvm.X86Segment;
import io.kvmirq.kvm.X86SystemRegisters;
import io.kvmirq.kvm.X86SystemRegisters.Name;
import io.kvmirq.kvm.X86SystemRegisters.Segment;
import io.kvmirq.kvm.X86Vcpu;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A bzImage, entered in 64-bit mode; source: "The Linux/x86 Boot Protocol" in the kernel's documentation. In memory:
 *
 * <pre>
 * 0x0500 GDT           0x9000 page tables of 1 GiB    0x9fc00 MP table                     at the end: initramfs
 * 0x7000 boot_params   0x20000 command line           where the image prefers: kernel
 * </pre>
 */
final class X86Linux {
    private static final int GDT = 0x500, BOOT_PARAMS = 0x7000, TABLES = 0x9000, COMMAND_LINE = 0x20000;
    private static final int HIGH_MEMORY = 0x100000, PAGE = 0x1000, SECTOR = 512;
    // struct setup_header, at the same place in the image and in struct boot_params, which also has the map E820
    private static final int SECTORS = 0x1f1, SIZE = 0x1f4, FLAG = 0x1fe, MAGIC = 0x202, VERSION = 0x206;
    private static final int LOADER = 0x210, RAMDISK = 0x218, RAMDISK_SIZE = 0x21c, LINE = 0x228, LAST = 0x22c;
    private static final int FLAGS_64 = 0x236, LONGEST_LINE = 0x238, PREFERRED = 0x258, NEEDED = 0x260, END = 0x264;
    private static final int E820_COUNT = 0x1e8, E820 = 0x2d0, RAM = 1;
    private static final int BOOTABLE = 0xaa55, HDRS = 0x53726448, SINCE_64 = 0x20c, ANY_LOADER = 0xff;
    // Intel SDM vol. 3, chapters 2 to 4
    private static final long PRESENT = 3, LARGE = 1 << 7, LARGE_SIZE = 1 << 21;
    private static final long PAGED = 1L << 31 | 1, PAE = 1 << 5, LONG_MODE = 1 << 8 | 1 << 10;
    private static final int CODE = 0x10, DATA = 0x18, ENTRY_64 = 0x200;
    private static final long CODE_64 = 0x00af9b000000ffffL, DATA_32 = 0x00cf93000000ffffL;

    private final ByteBuffer image;
    private final int code;
    private final long start;

    X86Linux(Path kernel) throws IOException {
        image = little(Files.readAllBytes(kernel));
        boolean isHeader = image.limit() >= END && (image.getShort(FLAG) & 0xffff) == BOOTABLE;
        int magic = isHeader ? image.getInt(MAGIC) : 0;
        String kind = Platform.kind(image);
        Platform.require(
                magic == HDRS, "%s is no bzImage: at 0x202 is 0x%x, expected 0x%x (HdrS)%s", kernel, magic, HDRS, kind);
        boolean has64 = image.getShort(VERSION) >= SINCE_64 && (image.get(FLAGS_64) & 1) == 1;
        Platform.require(
                has64, "%s has no 64-bit entry: expected a kernel for x86-64, protocol 0x%x", kernel, SINCE_64);
        code = ((image.get(SECTORS) & 0xff) + 1) * SECTOR; // after the sectors of real mode
        long end = code + Integer.toUnsignedLong(image.getInt(SIZE)) * 16;
        Platform.require(end <= image.limit(), "%s has %d bytes of %d: it is cut off", kernel, image.limit(), end);
        start = image.getLong(PREFERRED);
    }

    private static ByteBuffer little(byte[] bytes) {
        return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    }

    /** Writes all that the kernel needs into the guest's memory. */
    void load(Mapping memory, String line, byte[] initramfs, byte[] mpTable) {
        long bytes = memory.length();
        long end = start + Math.max(image.limit(), Integer.toUnsignedLong(image.getInt(NEEDED)));
        boolean fits = start >= HIGH_MEMORY && start < bytes && end <= bytes;
        Platform.require(fits, "the kernel needs memory up to 0x%x, and it ends at 0x%x: see --memory", end, bytes);
        long last = Math.min(bytes, Integer.toUnsignedLong(image.getInt(LAST)) + 1);
        long ramdisk = last - initramfs.length & -PAGE;
        long free = last - end;
        Platform.require(
                ramdisk >= end, "the initramfs has %d bytes, and %d are free: see --memory", initramfs.length, free);
        int longest = image.getInt(LONGEST_LINE);
        Platform.require(
                line.length() <= longest, "the command line has %d letters, at most %d", line.length(), longest);
        memory.put(start, image.slice(code, image.limit() - code));
        memory.put(ramdisk, initramfs);
        memory.put(COMMAND_LINE, (line + '\0').getBytes(StandardCharsets.US_ASCII));
        memory.put(MpTable.ADDRESS, mpTable);
        memory.put(GDT, little(new byte[0x20]).putLong(CODE, CODE_64).putLong(DATA, DATA_32));
        ByteBuffer params = memory.view(BOOT_PARAMS, PAGE);
        params.put(SECTORS, image.array(), SECTORS, END - SECTORS).put(LOADER, (byte) ANY_LOADER);
        params.putInt(LINE, COMMAND_LINE).putInt(RAMDISK, (int) ramdisk).putInt(RAMDISK_SIZE, initramfs.length);
        params.put(E820_COUNT, (byte) 2).position(E820);
        params.putLong(0).putLong(MpTable.ADDRESS).putInt(RAM);
        params.putLong(HIGH_MEMORY).putLong(bytes - HIGH_MEMORY).putInt(RAM);
        ByteBuffer tables = memory.view(TABLES, 3 * PAGE);
        tables.putLong(0, TABLES + PAGE | PRESENT).putLong(PAGE, TABLES + 2 * PAGE | PRESENT);
        for (int i = 0; i < PAGE / Long.BYTES; i++) {
            tables.putLong(2 * PAGE + i * Long.BYTES, i * LARGE_SIZE | LARGE | PRESENT);
        }
    }

    /** Makes the first vCPU enter the kernel; the others wait for it to start them. */
    void start(X86Vcpu vcpu) {
        X86SystemRegisters system = vcpu.systemRegisters().setGdt(GDT, 0x1f).set(Name.CR3, TABLES);
        system.set(Name.CR4, PAE).set(Name.CR0, PAGED).set(Name.EFER, LONG_MODE);
        system.setSegment(Segment.CS, new X86Segment(0, -1, CODE, X86Segment.CODE_64));
        for (Segment name : new Segment[] {Segment.DS, Segment.ES, Segment.SS}) {
            system.setSegment(name, new X86Segment(0, -1, DATA, X86Segment.DATA_32));
        }
        vcpu.setSystemRegisters(system);
        X86Registers registers = new X86Registers().set(X86Registers.Name.RIP, start + ENTRY_64);
        vcpu.setRegisters(registers.set(X86Registers.Name.RSI, BOOT_PARAMS).set(X86Registers.Name.RSP, BOOT_PARAMS));
    }
}
