/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

/** The interrupt vectors of the host's CPUs that MSI and MSI-X may still allocate. */
final class HostVectors {
    private int free = 1024;

    int free() {
        return free;
    }

    void setFree(int vectors) {
        free = vectors;
    }

    void allocate(int vectors) {
        free -= vectors;
    }

    void release(int vectors) {
        free += vectors;
    }
}
