/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.PciAddress;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.host.facts.IntxLine.Request;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.vfio.ArmedLine;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The request that the files of a fake host show, and the answer of its vfio-pci to a second device on the line. */
class IntxLineFakeTest {
    private static final PciAddress FIRST = PciAddress.parse("0000:00:01.0");
    private static final PciAddress SECOND = PciAddress.parse("0000:00:02.0");

    /** The kinds of devices, by what their configuration space shows. */
    private enum Shape {
        EXPRESS(builder -> builder.express().intx()),
        CONVENTIONAL(FakePciDevice.Builder::intx),
        WITHOUT_DIS_INTX(FakePciDevice.Builder::intxWithoutDisIntx);

        @SuppressWarnings("ImmutableEnumChecker") // The operators have no state.
        private final UnaryOperator<FakePciDevice.Builder> built;

        Shape(UnaryOperator<FakePciDevice.Builder> built) {
            this.built = built;
        }
    }

    /** Two devices on one line, of which the first is armed. */
    private static final class World {
        final FakeKernel fake;
        final Kernel kernel;
        final FakePciDevice hardware;
        final VfioDevice first;
        final VfioDevice second;
        final ArmedLine armed;

        World(String profile, boolean nointxmask, Shape shape) {
            fake = FakeKernel.inVirtualTime(Profile.parse(profile));
            fake.setNointxmask(nointxmask);
            kernel = fake.open();
            hardware = shape.built.apply(fake.pciDevice(FIRST.toString(), 1)).add();
            shape.built
                    .apply(fake.pciDevice(SECOND.toString(), 2))
                    .onLineOf(hardware)
                    .add();
            first = VfioDevice.open(kernel, FIRST);
            second = VfioDevice.open(kernel, SECOND);
            armed = first.intx().arm(EventFd.create(kernel));
        }

        IntxLine line(PciAddress device) {
            HostFacts facts = new HostFacts(fake.hostFiles());
            return IntxLine.read(facts, facts.pci(device).orElseThrow());
        }

        Optional<Request> request() {
            return line(FIRST).requested().known().map(IntxLine.Requested::request);
        }

        Request answer() {
            try {
                second.intx().arm(EventFd.create(kernel));
                return Request.SHAREABLE;
            } catch (KernelException e) {
                assertThat(e.errno()).isEqualTo(Errno.EBUSY);
                return Request.EXCLUSIVE;
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "EXPRESS,          false, SHAREABLE",
        "CONVENTIONAL,     false, ",
        "WITHOUT_DIS_INTX, false, ",
        "EXPRESS,          true,  EXCLUSIVE",
        "CONVENTIONAL,     true,  EXCLUSIVE",
        "WITHOUT_DIS_INTX, true,  EXCLUSIVE"
    })
    void secondDeviceIsAnsweredAsTheFilesSay(Shape shape, boolean nointxmask, Request shown) {
        for (String profile : List.of("6.1", "vtd-posting", "amd-avic", "6.12,arm64", "7.1")) {
            World world = new World(profile, nointxmask, shape);
            Optional<Request> request = world.request();
            Request answer = world.answer();
            assertThat(request).as(profile).isEqualTo(Optional.ofNullable(shown));
            assertThat(answer)
                    .as(profile)
                    .isEqualTo(request.orElse(shape == Shape.WITHOUT_DIS_INTX ? Request.EXCLUSIVE : Request.SHAREABLE));
            assertThat(world.line(FIRST).neighbours())
                    .extracting(PciDevice::address)
                    .containsExactly(SECOND);
        }
    }

    /** While the line is masked, DisINTx reads 1. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,arm64"})
    void maskedDeviceShowsThatItHasDisIntx(String profile) {
        World world = new World(profile, false, Shape.CONVENTIONAL);
        assertThat(world.request()).isEmpty();
        world.hardware.requestService();
        assertThat(world.request()).contains(Request.SHAREABLE);
        world.hardware.serve();
        world.armed.unmask();
        assertThat(world.request()).isEmpty();
        assertThat(world.answer()).isEqualTo(Request.SHAREABLE);
        assertThat(world.request()).as("two handlers").contains(Request.SHAREABLE);
    }

    /** The second conflict of 2017: the first VM uses MSI, the second takes the line. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,arm64"})
    void lineThatWasFreedIsTaken(String profile) {
        World world = new World(profile, true, Shape.EXPRESS);
        world.armed.close();
        assertThat(world.line(FIRST).handlers().known()).contains(List.of());
        assertThat(world.answer()).as("it is free").isEqualTo(Request.SHAREABLE);
        IntxLine line = world.line(FIRST);
        assertThat(line.armed()).isFalse();
        assertThat(line.handlers().known()).contains(List.of("vfio-intx(" + SECOND + ")"));
        assertThat(line.requested().known().map(IntxLine.Requested::request)).contains(Request.EXCLUSIVE);
    }
}
