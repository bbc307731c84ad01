/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.reflect.Field;
import java.util.Comparator;
import java.util.List;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ValuesTest {
    @Test
    void gsiOutOfRangeIsOneSentence() {
        assertIllegalArgument(
                () -> new Gsi(4096), "GSI 4096 is out of range: expected 0-4095, the size of KVM's routing table");
        assertThatThrownBy(() -> new Gsi(-1)).hasMessageContaining("GSI -1 is out of range");
    }

    @Test
    void vectorHasEightBits() {
        assertThat(new InterruptVector(255).number()).isEqualTo(255);
        assertThatThrownBy(() -> new InterruptVector(256))
                .hasMessageContaining("vector 256 is out of range: expected 0-255");
    }

    @Test
    void numbersCompareAsNumbers() {
        assertThat(List.of(new VcpuId(10), new VcpuId(9)).stream().sorted())
                .isSorted()
                .startsWith(new VcpuId(9));
        assertThat(new InterruptVector(0x80)).isGreaterThan(new InterruptVector(0x7f));
    }

    @Test
    void doorbellInMemoryMatchesOneValue() {
        assertThat(IoAddress.mmio(0xfeed_0000L, 2, 7))
                .isEqualTo(new IoAddress.Mmio(0xfeed_0000L, 2, OptionalLong.of(7)));
    }

    @Test
    void pinsAreThoseOfTheChip() {
        assertThatThrownBy(() -> new Route.Pin(new Gsi(0), Route.Chip.PIC_MASTER, 8))
                .hasMessage("pin 8 of PIC_MASTER does not exist: expected 0-7");
        assertThatThrownBy(() -> new Route.Pin(new Gsi(0), Route.Chip.IOAPIC, 24))
                .hasMessage("pin 24 of IOAPIC does not exist: expected 0-23");
        assertThatThrownBy(() -> new Route.Pin(new Gsi(0), Route.Chip.VGIC, 988))
                .hasMessage("pin 988 of VGIC does not exist: expected 0-987");
    }

    @Test
    void spiFollowsFromThePin() {
        assertThat(Route.Pin.to(new Gsi(7), new Spi(42))).isEqualTo(new Route.Pin(new Gsi(7), Route.Chip.VGIC, 10));
        assertThat(new Spi(1019).pin()).isEqualTo(987);
        for (int number : new int[] {-1, 31, 1020}) {
            assertThatThrownBy(() -> new Spi(number))
                    .hasMessage("SPI " + number + " is out of range: expected 32-1019, its INTID");
        }
        for (int number : new int[] {-1, 15, 32}) {
            assertThatThrownBy(() -> new Ppi(number))
                    .hasMessage("PPI " + number + " is out of range: expected 16-31, its INTID");
        }
    }

    /** GIC architecture (IHI 0069), 12.19: GITS_TRANSLATER. */
    @Test
    void messageToAnItsCarriesDeviceAndEvent() {
        assertThat(MsiMessage.toIts(0x808_0000L, 0x10, 7))
                .isEqualTo(new MsiMessage(0x809_0040L, 7, OptionalInt.of(0x10)))
                .hasToString("msi 0x8090040/0x7 device 0x10");
        assertThatThrownBy(() -> MsiMessage.toIts(0x808_0040L, 0x10, 7))
                .hasMessage("an ITS at 0x8080040 is invalid: expected its first address, a multiple of 0x10000"
                        + " below 2^52");
        for (long beyond : new long[] {-0x1_0000L, 1L << 52, Long.MAX_VALUE & -0x1_0000L}) {
            assertThatThrownBy(() -> MsiMessage.toIts(beyond, 1, 1)).isInstanceOf(IllegalArgumentException.class);
        }
        assertThat(MsiMessage.toIts((1L << 52) - 0x2_0000, 1, 1).address()).isEqualTo((1L << 52) - 0xffc0);
    }

    /** Intel SDM vol. 3, 11.11; the high 24 bits of a long id as KVM_X2APIC_API_USE_32BIT_IDS wants them. */
    @Test
    void messageCarriesDestinationAndVector() {
        assertThat(MsiMessage.to(new VcpuId(5), new InterruptVector(0x31)))
                .isEqualTo(new MsiMessage(0xfee05000L, 0x31));
        assertThat(MsiMessage.to(new VcpuId(0x123), new InterruptVector(0x31)).address())
                .isEqualTo(0x100_fee23000L);
        assertThat(MsiMessage.nmiTo(new VcpuId(0)).data()).isEqualTo(0x400);
    }

    /** Domains of more than four digits are those of Intel's VMD. */
    @Test
    void pciAddressIsReadAsSysfsPrintsIt() {
        assertThat(PciAddress.parse("0000:3B:1f.7"))
                .isEqualTo(new PciAddress(0, 0x3b, 0x1f, 7))
                .hasToString("0000:3b:1f.7");
        assertThat(PciAddress.parse("3b:00.1")).hasToString("0000:3b:00.1");
        assertThat(PciAddress.parse("10000:e0:02.0")).hasToString("10000:e0:02.0");
        assertThat(PciAddress.parse("0000:3b:00.1").requesterId()).isEqualTo(0x3b01);
        assertThat(List.of(PciAddress.parse("0001:00:00.0"), PciAddress.parse("ff:1f.7"), PciAddress.parse("3b:00.1")))
                .isSortedAccordingTo(Comparator.reverseOrder());
        for (String text :
                List.of("", "3b", "0000:3b:20.0", "0000:3b:00.8", "0000:3b:00.0\n", "../3b:00.0", "-1:3b:00.0")) {
            assertThatThrownBy(() -> PciAddress.parse(text))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageStartingWith("'" + text.replace('\n', '?')
                            + "' is not a PCI address: expected DOMAIN:BUS:DEVICE.FUNCTION");
        }
        assertThatThrownBy(() -> new PciAddress(0, 256, 0, 0)).hasMessageContaining("bus 256");
    }

    @Test
    void errnoKeepsNumbersItHasNoNameFor() {
        assertThat(Errno.ofResult(-16)).isEqualTo(Errno.EBUSY).hasToString("EBUSY");
        assertThat(Errno.numberOf("-2147483648")).isEmpty();
        assertThat(Errno.numberOf("-4096")).isEmpty();
        assertThat(Errno.numberOf("-16")).hasValue(16);
        assertThat(Errno.numberOf("ewouldblock")).hasValue(11);
        assertThat(Errno.parse("ENOTSUP")).contains(new Errno(95));
        assertThat(new Errno(4000)).hasToString("errno 4000");
        assertThatThrownBy(() -> Errno.ofResult(3)).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void everyErrnoWithAConstantHasItsName() throws IllegalAccessException {
        for (Field constant : Errno.class.getFields()) {
            Errno errno = (Errno) constant.get(null);
            assertThat(errno).hasToString(constant.getName());
            assertThat(Errno.parse(constant.getName())).contains(errno);
        }
    }

    @Test
    void kernelExceptionIsOneSentence() {
        assertThat(new KernelException("irqfd assign", "eventfd=7 gsi=24", Errno.EBUSY, "busy"))
                .hasMessage("irqfd assign eventfd=7 gsi=24: EBUSY (busy)");
        assertThat(new KernelException("vm create", "", Errno.ENOMEM, "")).hasMessage("vm create: ENOMEM");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "..", "a/b", "a b"})
    void platformNameIsOneEntryOfSysfs(String name) {
        assertThatThrownBy(() -> new PlatformName(name)).hasMessageStartingWith("platform device '" + name + "'");
    }

    @Test
    void hostIrqIsNotNegative() {
        assertThat(new HostIrq(24)).hasToString("host irq 24");
        assertThatThrownBy(() -> new HostIrq(-1)).hasMessageStartingWith("host irq -1 is out of range");
    }
}
