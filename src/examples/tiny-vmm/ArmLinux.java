/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.kernel.Mapping;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * An Image of arm64; source: "Booting AArch64 Linux" in the kernel's documentation. In memory: the kernel where it wants
 * to be, from the start on; behind it the device tree; and at the end the initramfs.
 */
final class ArmLinux {
    // The header, and how long a command line may be
    private static final int TEXT_OFFSET = 8, IMAGE_SIZE = 16, MAGIC = 56, HEADER = 64, ARM64 = 0x644d5241;
    private static final int PAGE = 0x1000, LONGEST_LINE = 2047;
    private static final long TREE_ALIGNMENT = 1 << 21;
    // Of interrupts: 0 is an SPI, from 32 on, and 1 a PPI, from 16 on; then 1 is an edge, and 4 a level
    private static final String TREE = """
            / {
                #address-cells = <1>; #size-cells = <1>; interrupt-parent = <1>;
                compatible = "linux,dummy-virt"; model = "tiny-vmm";
                chosen {
                    bootargs = "$"; stdout-path = "serial0"; linux,initrd-start = <0x%x>; linux,initrd-end = <0x%x>;
                };
                aliases { serial0 = "/serial@9000000"; serial1 = "/serial@9010000"; };
                memory@40000000 { device_type = "memory"; reg = <0x40000000 0x%x>; };
                cpus { #address-cells = <1>; #size-cells = <0>; %s };
                psci { compatible = "arm,psci-1.0\\0arm,psci-0.2"; method = "hvc"; };
                timer { compatible = "arm,armv8-timer"; always-on; interrupts = <1 13 4 1 14 4 1 11 4 1 10 4>; };
                interrupt-controller@8000000 {
                    compatible = "arm,gic-v3"; phandle = <1>; interrupt-controller; #interrupt-cells = <3>;
                    #address-cells = <1>; #size-cells = <1>; ranges; reg = <0x8000000 0x10000 0x80a0000 0x200000>;
                    msi-controller@8080000 {
                        compatible = "arm,gic-v3-its"; phandle = <2>; msi-controller; #msi-cells = <1>;
                        reg = <0x8080000 0x20000>;
                    };
                };
                serial@9000000 {
                    compatible = "ns16550a"; clock-frequency = <1843200>; reg = <0x9000000 8>; interrupts = <0 1 1>;
                };
                serial@9010000 {
                    compatible = "ns16550a"; clock-frequency = <1843200>; reg = <0x9010000 8>; interrupts = <0 2 1>;
                };
                pcie@3f000000 {
                    compatible = "pci-host-ecam-generic"; device_type = "pci"; reg = <0x3f000000 0x100000>;
                    #address-cells = <3>; #size-cells = <2>; bus-range = <0 0>; dma-coherent; msi-map = <0 2 0 0x10000>;
                    ranges = <0x2000000 0 0x10000000 0x10000000 0 0x2f000000>;
                    #interrupt-cells = <1>; interrupt-map-mask = <0xf800 0 0 7>; interrupt-map = <%s>;
                };
            };
            """;
    private static final String CPU =
            "cpu@%1$x { device_type = \"cpu\"; compatible = \"arm,armv8\"; enable-method = \"psci\"; reg = <%1$d>; };";

    /** INTA# of a slot is a level at an SPI, whose parent is the GIC. */
    private static final String LINE = "0x%x 0 0 1 1 0 0 %d 4";

    private final ByteBuffer image;

    ArmLinux(Path kernel) throws IOException {
        image = ByteBuffer.wrap(Files.readAllBytes(kernel)).order(ByteOrder.LITTLE_ENDIAN);
        int magic = image.limit() >= HEADER ? image.getInt(MAGIC) : 0;
        String kind = Platform.kind(image);
        Platform.require(magic == ARM64, "%s is no Image for arm64: at 0x38 is 0x%x%s", kernel, magic, kind);
    }

    /** Where the first vCPU begins. */
    long start() {
        return ArmPlatform.MEMORY + image.getLong(TEXT_OFFSET);
    }

    /** Writes all that the kernel needs into the guest's memory. @return where its device tree is */
    long load(Mapping memory, byte[] initramfs, String line, int vcpus) {
        int letters = line.length();
        Platform.require(letters <= LONGEST_LINE, "the command line has %d letters, at most %d", letters, LONGEST_LINE);
        long text = image.getLong(TEXT_OFFSET);
        long end = text + Math.max(image.limit(), image.getLong(IMAGE_SIZE));
        long bytes = memory.length();
        boolean fits = text >= 0 && end > 0 && end <= bytes;
        Platform.require(fits, "the kernel needs 0x%x bytes of memory, and has 0x%x: see --memory", end, bytes);
        long ramdisk = bytes - initramfs.length & -PAGE;
        long at = end + TREE_ALIGNMENT - 1 & -TREE_ALIGNMENT;
        byte[] tree = tree(line, bytes, vcpus, ArmPlatform.MEMORY + ramdisk, initramfs.length);
        fits = at + tree.length <= ramdisk;
        String sentence = "the device tree has %d bytes, the initramfs %d, and %d are free: see --memory";
        Platform.require(fits, sentence, tree.length, initramfs.length, Math.max(0, bytes - at));
        memory.put(text, image);
        memory.put(at, tree);
        memory.put(ramdisk, initramfs);
        return ArmPlatform.MEMORY + at;
    }

    static byte[] tree(String line, long bytes, int vcpus, long ramdisk, int length) {
        String cpus =
                IntStream.range(0, vcpus).mapToObj(id -> String.format(CPU, id)).collect(Collectors.joining());
        String lines = IntStream.range(0, PassedDevices.MOST)
                .mapToObj(number -> String.format(LINE, 1 + number << 11, ArmPlatform.FIRST_PCI_SPI - 32 + number))
                .collect(Collectors.joining(" "));
        return DeviceTree.compile(String.format(TREE, ramdisk, ramdisk + length, bytes, cpus, lines), line);
    }
}
