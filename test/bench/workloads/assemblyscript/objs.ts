abstract class Shape {
  abstract area(): f64;
}
class Square extends Shape {
  constructor(public side: f64) {
    super();
  }
  area(): f64 {
    return this.side * this.side;
  }
}
class Circle extends Shape {
  constructor(public radius: f64) {
    super();
  }
  area(): f64 {
    return this.radius * this.radius * 3.14;
  }
}
class Triangle extends Shape {
  constructor(
    public base: f64,
    public height: f64,
  ) {
    super();
  }
  area(): f64 {
    return (this.base * this.height) / 2;
  }
}

function shape(i: i32): Shape {
  if (i % 3 == 0) return new Square(<f64>i);
  if (i % 3 == 1) return new Circle(<f64>i);
  return new Triangle(<f64>i, 2);
}

/** Puts n objects into a map and asks others out of it: allocation, collection, virtual calls, hashing. */
export function objs(n: i32): f64 {
  const shapes = new Map<i32, Shape>();
  let total = 0.0;
  for (let i = 0; i < n; i++) {
    shapes.set(i & 1023, shape(i));
    const asked = (i * 7) & 1023;
    if (shapes.has(asked)) total += shapes.get(asked).area();
  }
  return total;
}
