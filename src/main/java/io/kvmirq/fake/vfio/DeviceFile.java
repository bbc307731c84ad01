/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.Host;
import io.kvmirq.uapi.UapiVfio;

/** A device that its group opened; source: {@code vfio_device_fops} in drivers/vfio/vfio_main.c. */
final class DeviceFile extends FakeFile {
    private final VfioDevice device;
    private final GroupFile group;

    DeviceFile(Host host, VfioDevice device, GroupFile group) {
        super(host);
        this.device = device;
        this.group = group;
        group.use();
        device.open();
    }

    @Override
    public int ioctl(long request, long argument) {
        return request == UapiVfio.VFIO_DEVICE_FEATURE
                ? FeatureRequest.answer(host, device, argument)
                : device.ioctl(this, request, argument);
    }

    /** Since 6.6 KVM accepts a device, also one that its group opened. */
    @Override
    public boolean isVfio() {
        return host.build().isSince(6, 6);
    }

    @Override
    public long pread(long to, long length, long offset) {
        return device.read(to, length, offset);
    }

    @Override
    public long pwrite(long from, long length, long offset) {
        return device.write(from, length, offset);
    }

    @Override
    protected void released() {
        device.close();
        group.unuse();
    }
}
