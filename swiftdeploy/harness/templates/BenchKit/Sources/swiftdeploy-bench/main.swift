import BenchCore
print(1)
