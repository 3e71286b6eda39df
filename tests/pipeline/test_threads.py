import threading

import torch

from swiftdeploy.pipeline.threads import one_thread


def test_it_is_one_inside_and_as_before_outside():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
            with one_thread():
                pass
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_who_leaves_first_does_not_disturb_who_stays():
    before = torch.get_num_threads()
    entered, seen = threading.Event(), []

    def stay():
        with one_thread():
            entered.set()
            left.wait(10)
            seen.append(torch.get_num_threads())

    left = threading.Event()
    other = threading.Thread(target=stay)
    with one_thread():
        other.start()
        assert entered.wait(10)
    left.set()
    other.join()
    assert seen == [1]
    torch.set_num_threads(before)  # restored in the other thread; OpenMP keeps this one's own
