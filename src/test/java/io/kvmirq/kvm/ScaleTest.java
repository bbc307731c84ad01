/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Allocations;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.uapi.Uapi;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiFunction;
import java.util.function.LongUnaryOperator;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/**
 * Kernel calls and bytes of three sizes: of a larger one each further object costs no more than of a smaller one.
 */
class ScaleTest {
    private static final List<Integer> VECTORS = List.of(64, 512, 4096);
    private static final List<Integer> VMS = List.of(4, 16, 64);
    private static final int VECTORS_OF_VM = 256;
    private static final List<Integer> VCPUS = List.of(16, 64, 256);
    /** Arrays grow in steps. */
    private static final double STEPS = 1.1;

    private static final int SPARE_DESCRIPTORS = 200;

    private static FakeKernel fake() {
        FakeKernel fake = new FakeKernel(Profile.V6_18);
        fake.limitDescriptors(1 << 20);
        return fake;
    }

    private static KernelBackend real() {
        return Backends.ofThisMachine().open("jni");
    }

    private static void assumeDescriptors(int vectors) {
        long limit = new HostFacts(HostFiles.at(Path.of("/")))
                .limits()
                .openFiles()
                .known()
                .orElse(0L);
        assumeTrue(limit >= vectors + SPARE_DESCRIPTORS, "RLIMIT_NOFILE is " + limit);
    }

    /** Made and closed: how often each call was made. */
    private static Map<String, Long> calls(KernelBackend backend, BiFunction<Kernel, Integer, Scale> make, int size) {
        Faults faults = new Faults();
        try (Kernel kernel = Kernel.over(faults.over(backend))) {
            kernel.device();
            faults.listen();
            make.apply(kernel, size).close();
            return faults.calls().stream()
                    .collect(Collectors.groupingBy(name -> name, TreeMap::new, Collectors.counting()));
        }
    }

    /** @param max bytes that an object more may cost, made and closed */
    private static void assertBytes(
            KernelBackend backend, BiFunction<Kernel, Integer, Scale> make, List<Integer> sizes, long max) {
        try (Kernel kernel = Kernel.over(backend)) {
            LongUnaryOperator bytes = size ->
                    Allocations.leastOf(() -> make.apply(kernel, (int) size).close());
            bytes.applyAsLong(sizes.get(0)); // classes are loaded
            double first = each(bytes, sizes.get(0), sizes.get(1));
            double second = each(bytes, sizes.get(1), sizes.get(2));
            assertThat(second)
                    .as("bytes of each further object, up to " + sizes.get(1) + " " + first)
                    .isLessThanOrEqualTo(Math.min(max, first * STEPS));
        }
    }

    private static double each(LongUnaryOperator bytes, int few, int many) {
        return (double) (bytes.applyAsLong(many) - bytes.applyAsLong(few)) / (many - few);
    }

    // Vectors of a VM

    private static void assertCallsOfVectors(KernelBackend backend) {
        for (int vectors : VECTORS) {
            Map<String, Long> calls = calls(backend, Scale::vectors, vectors);
            calls.remove("capabilityCheck");
            assertThat(calls)
                    .isEqualTo(Map.of(
                            "vmCreate", 1L,
                            "KVM_ENABLE_CAP", 1L,
                            "eventfdCreate", (long) vectors,
                            "routesSet", 1L,
                            "irqfdAssign", (long) vectors,
                            "irqfdDeassign", 1L,
                            "fdClose", vectors + 1L));
        }
    }

    @Test
    void vectorOnTheFakeCostsTheSameAmongManyAsAmongFew() {
        assertCallsOfVectors(fake().backend());
        assertBytes(fake().backend(), Scale::vectors, VECTORS, 1300);
    }

    @Test
    @RealKvm
    void vectorOnRealKvmCostsTheSameAmongManyAsAmongFew() {
        assumeDescriptors(VECTORS.get(2));
        assertCallsOfVectors(real());
        assertBytes(real(), Scale::vectors, VECTORS, 300);
    }

    // VMs

    @Test
    void vmOnTheFakeCostsTheSameAmongManyAsAmongFew() {
        BiFunction<Kernel, Integer, Scale> vms = (kernel, count) -> Scale.vms(kernel, count, VECTORS_OF_VM);
        Map<String, Long> single = calls(fake().backend(), vms, 1);
        for (int count : VMS) {
            Map<String, Long> many = calls(fake().backend(), vms, count);
            assertThat(many.keySet()).isEqualTo(single.keySet());
            many.forEach((call, times) -> assertThat(times)
                    .as(call + " of " + count + " VMs")
                    .isLessThanOrEqualTo(count * single.getOrDefault(call, 0L)));
        }
        assertBytes(fake().backend(), vms, VMS, VECTORS_OF_VM * 1400L);
    }

    // vCPUs

    private static void assertCallsOfVcpus(KernelBackend backend) {
        for (int vcpus : VCPUS) {
            Map<String, Long> calls = calls(backend, Scale::vcpus, vcpus);
            calls.remove("capabilityCheck");
            assertThat(calls)
                    .isEqualTo(Map.of(
                            "vmCreate",
                            1L,
                            "irqchipCreate",
                            1L,
                            "KVM_GET_VCPU_MMAP_SIZE",
                            1L,
                            "KVM_CREATE_VCPU",
                            (long) vcpus,
                            "KVM_GET_SREGS",
                            (long) vcpus,
                            "mmap",
                            (long) vcpus,
                            "madvise",
                            2L * vcpus,
                            "munmap",
                            (long) vcpus,
                            "fdClose",
                            vcpus + 1L));
        }
    }

    @Test
    void vcpuOnTheFakeCostsTheSameAmongManyAsAmongFew() {
        assertCallsOfVcpus(fake().backend());
        assertBytes(fake().backend(), Scale::vcpus, VCPUS, 15_400);
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void vcpuOnRealKvmCostsTheSameAmongManyAsAmongFew() {
        try (Kernel kernel = Kernel.over(real());
                Vm vm = Vm.create(kernel)) {
            int max = vm.capability(Uapi.KVM_CAP_MAX_VCPUS);
            assumeTrue(max >= VCPUS.get(2), "KVM_CAP_MAX_VCPUS is " + max);
        }
        assertCallsOfVcpus(real());
        assertBytes(real(), Scale::vcpus, VCPUS, 4800);
    }
}
