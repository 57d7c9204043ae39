// The threads that work on a step together. Each runs the same code; `share` hands out an operation's parts and ends
// when all of them are done. A thread that waits spins for microseconds, then sleeps: beside a training run on the same
// cores, spinning would take the time from whoever is waited for.
#pragma once
#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#define BREATHE() __builtin_ia32_pause()
#else
#define BREATHE() ((void)0)
#endif

class Team {
  public:
    const int size;

    explicit Team(int size) : size(size) {
        for (int number = 1; number < size; number++) threads_.emplace_back([this, number] { serve(number); });
    }

    ~Team() {
        job_ = nullptr;
        started_.fetch_add(1);
        started_.notify_all();
        for (auto& thread : threads_) thread.join();
    }

    // Run `job(number)` on every thread; returns when all have.
    void run(const std::function<void(int)>& job) {
        job_ = &job;
        next_.store(0);
        started_.fetch_add(1);
        started_.notify_all();
        job(0);
        meet();
    }

    // Inside a job: `part(i)` for every i below `count`, `grain` at a time, whoever is free; then all meet.
    template <class Part> void share(int count, int grain, Part part) {
        for (int first; (first = next_.fetch_add(grain)) < count;)
            for (int i = first; i < count && i < first + grain; i++) part(i);
        meet();
    }

  private:
    static constexpr int SPINS = 4000;

    void meet() {
        const unsigned round = round_.load();
        if (arrived_.fetch_add(1) + 1 == size) {
            arrived_.store(0);
            next_.store(0);
            round_.fetch_add(1);
            round_.notify_all();
            return;
        }
        await(round_, round);
    }

    static void await(std::atomic<unsigned>& value, unsigned old) {
        for (int spin = 0; spin < SPINS; spin++) {
            if (value.load(std::memory_order_acquire) != old) return;
            BREATHE();
        }
        while (value.load() == old) value.wait(old);
    }

    void serve(int number) {
        for (unsigned seen = 0;; seen++) {
            await(started_, seen);
            if (job_ == nullptr) return;
            (*job_)(number);
            meet();
        }
    }

    std::vector<std::thread> threads_;
    const std::function<void(int)>* job_ = nullptr;
    std::atomic<unsigned> started_{0}, round_{0};
    std::atomic<int> arrived_{0}, next_{0};
};
