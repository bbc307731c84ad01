/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.IntxLine;
import io.kvmirq.host.facts.IntxLine.Request;
import io.kvmirq.host.facts.PciDevice;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * INTx while vfio-pci has the parameter nointxmask: {@code request_irq()} of {@code vfio_intx_enable()} asks for the
 * line alone. vfio-pci reads the parameter when it is loaded, so the lab's machine loads it anew, and again at the end.
 */
@Tag("contract")
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.contract.VfioWorld#withNointxmask")
class VfioNointxmaskContract extends VfioSuite {
    /** Where the lab's init has left the modules. */
    private static final Path MODULES = Path.of("/modules");

    private boolean reloaded;

    @BeforeEach
    void setParameter() throws IOException, InterruptedException {
        if (kernel.isReal()) {
            vfio.place(EDU);
            assumeTrue(
                    hasModule(),
                    "needs to load vfio-pci anew: make lab runs this, on kernels that have it as a module");
            load("nointxmask=1");
            reloaded = true;
        }
    }

    @AfterEach
    void restore() throws IOException, InterruptedException {
        close();
        if (reloaded) {
            load("");
        }
    }

    private static boolean hasModule() throws IOException {
        if (!Files.isDirectory(MODULES)) {
            return false;
        }
        try (Stream<Path> modules = Files.list(MODULES)) {
            return modules.anyMatch(module -> module.getFileName().toString().endsWith("-vfio-pci.ko"));
        }
    }

    /** No device may be open. */
    private static void load(String parameter) throws IOException, InterruptedException {
        Process load = new ProcessBuilder(
                        "sh", "-c", "rmmod vfio_pci && insmod " + MODULES + "/*-vfio-pci.ko " + parameter)
                .redirectErrorStream(true)
                .start();
        String said = new String(load.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(load.waitFor()).as(said).isZero();
    }

    @Test
    void deviceHasItsLineAlone() {
        OpenedDevice first = vfio.device(EDU);
        OpenedDevice second = vfio.secondEdu();
        assertOk(first.arm(INTX, 0, world.eventfd()));
        assertErrno(Errno.EBUSY, second.arm(INTX, 0, world.eventfd()));
        assertErrno(Errno.EBUSY, second.arm(INTX, 0, -1));
        assertErrno(Errno.EINVAL, second.intx(MASK));
        assertOk(first.disable(INTX));
        assertOk(second.arm(INTX, 0, world.eventfd()));
    }

    /** The files say before the second request what it is answered. */
    @Test
    void filesShowThatTheRequestIsExclusive() {
        OpenedDevice first = vfio.device(EDU);
        OpenedDevice second = vfio.secondEdu();
        assertThat(line().armed()).isFalse();
        assertOk(first.arm(INTX, 0, world.eventfd()));
        assertThat(line().armed()).isTrue();
        assertThat(line().requested().known().map(IntxLine.Requested::request)).contains(Request.EXCLUSIVE);
        assertThat(line().handlers().known()).contains(List.of());
        assertThat(line().neighbours().stream().filter(PciDevice::isBoundToVfio))
                .as("the second edu")
                .hasSize(1);
        assertErrno(Errno.EBUSY, second.arm(INTX, 0, world.eventfd()));
    }

    private IntxLine line() {
        HostFacts host = new HostFacts(kernel.libc().hostFiles());
        return IntxLine.read(host, host.pci(vfio.address(EDU)).orElseThrow());
    }
}
