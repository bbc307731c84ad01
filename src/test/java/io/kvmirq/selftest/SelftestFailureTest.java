/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.PciAddress;
import io.kvmirq.explain.ProcessLimit;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.undo.Undo;
import java.io.IOException;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** A limit of this process, or a failure of Java, is no failure of a scenario: the self-test could not run. */
class SelftestFailureTest {
    private static final PciAddress NIC = PciAddress.parse("0000:3b:00.0");
    private static final String NO_DESCRIPTOR = "this process has no descriptor left: raise RLIMIT_NOFILE (ulimit -n)";

    /** An exception of a helper thread, and what is said of it. */
    enum Accident {
        /** A class of Java that opens a file when it is loaded. */
        CLASS(() -> new ExceptionInInitializerError(new IOException("Too many open files")), NO_DESCRIPTOR),
        /** So too, when it is asked for again. */
        CLASS_AGAIN(
                () -> new NoClassDefFoundError("Could not initialize class X")
                        .initCause(
                                new ExceptionInInitializerError("Exception java.io.IOException: Too many open files")),
                NO_DESCRIPTOR),
        HEAP(() -> new OutOfMemoryError("Java heap space"), "not enough memory: Java gives this command "),
        THREAD(
                () -> new OutOfMemoryError("unable to create native thread: possibly out of memory"),
                "no thread could be created: raise RLIMIT_NPROC (ulimit -u), "),
        STATE(
                () -> new IllegalStateException("no signal is free"),
                "java.lang.IllegalStateException: no signal is free");

        private final Supplier<Throwable> thrown;
        private final String text;

        Accident(Supplier<Throwable> thrown, String text) {
            this.thrown = thrown;
            this.text = text;
        }

        /** Happens in the nth call. */
        void in(Faults faults, String call, int nth) {
            faults.delay(call, nth, () -> SelftestFailureTest.<RuntimeException>sneak(thrown.get()));
        }
    }

    @SuppressWarnings({"unchecked", "TypeParameterUnusedInFormals"})
    private static <T extends Throwable> void sneak(Throwable thrown) throws T {
        throw (T) thrown;
    }

    @AutoClose
    private final Undo made = new Undo();

    private final Faults faults = new Faults();

    private Kernel kernel() {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12"));
        fake.pciDevice(NIC.toString(), 15).msix(4).add();
        return made.add(Kernel.over(faults.over(fake.backend())));
    }

    private List<Result> run(Scenario scenario) {
        return new Selftest(kernel(), Irqchip.FULL, 20, new Heard()).run(List.of(scenario));
    }

    private static ForwardResult forward(Kernel kernel) {
        Mirror mirror = Mirror.create(MirrorHost.unknown("nothing is known"));
        return new ForwardSelftest(
                        kernel, NIC, () -> mirror, ForwardSelftest.Choice.ALL, new ForwardSelftest.Listener() {})
                .run();
    }

    @ParameterizedTest
    @EnumSource
    void accidentOfTheVcpuBeforeItsFirstRunIsNoFailure(Accident accident) {
        accident.in(faults, "KVM_RUN", 1);
        assertThatThrownBy(() -> run(Scenario.LEVEL))
                .isInstanceOf(CouldNotRunException.class)
                .hasMessageStartingWith("could not run: the vCPU ended: " + accident.text);
    }

    /** The vCPU answers no longer: that it has ended is said, and not that its interrupt was lost. */
    @ParameterizedTest
    @EnumSource(
            value = Scenario.class,
            names = {"GUESTLESS"},
            mode = EnumSource.Mode.EXCLUDE)
    void accidentOfTheVcpuInItsSecondRunIsNoFailure(Scenario scenario) {
        Accident.CLASS.in(faults, "KVM_RUN", 2);
        assertThatThrownBy(() -> run(scenario))
                .isInstanceOf(CouldNotRunException.class)
                .hasMessage("could not run: the vCPU ended: " + NO_DESCRIPTOR);
    }

    @ParameterizedTest
    @EnumSource
    void accidentOfTheReroutingThreadIsNoFailure(Accident accident) {
        accident.in(faults, "routesSet", 3);
        assertThatThrownBy(() -> run(Scenario.REROUTE))
                .isInstanceOf(CouldNotRunException.class)
                .hasMessageStartingWith("could not run: changing the route failed: " + accident.text);
    }

    @ParameterizedTest
    @CsvSource({"eventfd, EMFILE", "eventfdCreate, ENFILE", "KVM_CREATE_VCPU, EMFILE", "KVM_CREATE_VM, ENOMEM"})
    void limitInACallIsNoFailure(String call, String errno) {
        faults.fail(call, 1, Errno.parse(errno).orElseThrow());
        assertThatThrownBy(() -> run(Scenario.EDGE))
                .isInstanceOf(CouldNotRunException.class)
                .hasMessageStartingWith("could not run: ")
                .hasMessageContaining(": " + errno);
    }

    @Test
    void refusalOfTheKernelIsAFailure() {
        faults.fail("KVM_RUN", 1, Errno.EFAULT);
        assertThat(run(Scenario.EDGE).get(0).failure())
                .hasValueSatisfying(failure -> assertThat(failure).startsWith("the vCPU ended: vcpu run "));
    }

    // forward --selftest

    @ParameterizedTest
    @EnumSource
    void accidentOfTheVcpuThatADeviceInterruptsIsNoFailure(Accident accident) {
        accident.in(faults, "KVM_RUN", 2);
        assertThatThrownBy(() -> forward(kernel()))
                .isInstanceOf(CouldNotRunException.class)
                .hasMessageStartingWith("could not run: the vCPU ended: " + accident.text);
    }

    @Test
    void limitWhileForwardingIsNoFailureAndNothingIsLeft() {
        Kernel kernel = kernel();
        faults.fail("irqfdAssign", 2, Errno.ENOMEM);
        assertThatThrownBy(() -> forward(kernel))
                .isInstanceOf(CouldNotRunException.class)
                .hasMessageContaining(": ENOMEM");
        assertThat(kernel.openHandles()).containsExactly("/dev/kvm (fd 3)");
    }

    @Test
    void quotedTextIsNoLimit() {
        assertThat(ProcessLimit.behind(new IllegalStateException("'x: Too many open files' is no profile")))
                .isEmpty();
        assertThat(ProcessLimit.behind(new IOException("mmap: Cannot allocate memory")))
                .hasValueSatisfying(sentence -> assertThat(sentence).contains("ulimit -v", "ulimit -l"));
    }
}
