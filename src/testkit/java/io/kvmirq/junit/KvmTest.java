/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Inherited;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.TestTemplate;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * Runs a test once for each profile of the fake kernel, on real KVM, or on both. The method may have parameters of
 * these types, and so may the constructor, {@code @BeforeEach} and {@code @AfterEach} methods of its class:
 *
 * <table>
 * <caption>Parameters</caption>
 * <tr><th>type</th><th>is</th></tr>
 * <tr><td>{@link KvmHost}</td><td>the kernel of the test, and all objects that the kit makes on it</td></tr>
 * <tr><td>{@code Kernel}</td><td>the kernel from which the tested VMM makes its VMs</td></tr>
 * <tr><td>{@code Vm}</td><td>a VM with an irqchip and {@link #vcpus} vCPUs: {@link KvmHost#vm}</td></tr>
 * <tr><td>{@code Vcpu}</td><td>a vCPU of the kit's VM, run by the test itself: the first parameter is vCPU 0</td></tr>
 * <tr><td>{@code EventFd}</td><td>a new eventfd for each parameter</td></tr>
 * <tr><td>{@code Faults}</td><td>rules that make calls of the test fail, and the counts of its calls</td></tr>
 * <tr><td>{@code FakeKernel}</td><td>the fake kernel; a test on real KVM cannot have this parameter</td></tr>
 * <tr><td>{@code FakePciDevice}</td><td>a device of the fake host: {@link KvmHost#device}; not on real KVM</td></tr>
 * <tr><td>{@code VfioDevice}</td><td>the fake host's device, opened through VFIO; not on real KVM</td></tr>
 * </table>
 *
 * <p>After the test, the test kit closes every object that the kit made. Then the test fails if it left a descriptor,
 * an irqfd, an ioeventfd, a route in the kit's VM, a thread that used the kernel, or a non-daemon thread. Tests may run
 * in parallel, because each has its own kernel.
 *
 * <p>On a class, the annotation sets default values for annotated methods of the class, and of its nested classes
 * without this annotation. If a method omits an element or sets it to the default value, the class's value applies.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="test"}
 */
@Documented
@Inherited
@Retention(RetentionPolicy.RUNTIME)
@Target({ElementType.METHOD, ElementType.TYPE, ElementType.ANNOTATION_TYPE})
@TestTemplate
@FaultExtension.RunByKit
@ExtendWith(KvmExtension.class)
@SuppressWarnings("exports") // JUnit is optional
public @interface KvmTest {
    /**
     * The profiles of the fake kernel, such as {@code "6.1"} or {@code "vtd-posting"}. See {@code Profile}. If empty,
     * the test runs on 6.12, or only on real KVM if {@link #real} is {@link Real#REQUIRED}.
     */
    String[] profiles() default {};

    /** Whether the test runs on the KVM of this machine. */
    Real real() default Real.NEVER;

    /** The number of vCPUs in the test kit's VM, on real KVM at most 16. */
    int vcpus() default 1;

    /** The binding to the real kernel: {@code jni}, {@code ffm}, {@code jna}, {@code jnr}, or the first that works. */
    String backend() default "auto";
}
