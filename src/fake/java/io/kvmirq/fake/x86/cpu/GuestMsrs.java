/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import io.kvmirq.NotModelledException;

/** RDMSR and WRMSR. The methods throw {@link NotModelledException} if the fake does not model the MSR or its value. */
public interface GuestMsrs {
    long read(int number);

    void write(int number, long value);
}
